/** `--vary NAME=VALUES` on the command line. */
import { closest } from 'fastest-levenshtein'

import { type Option, takesNumbers } from '../options/option.js'
import { mixOptions } from '../request/mix-options.js'
import type { SweepRequest, Vary } from '../sweep/axes.js'
import { UsageError } from './command.js'

/** How the values of an axis are read. */
interface Spelling {
  option: string
  /** From one text to a value. */
  parse: (text: string) => unknown
  isNumber?: boolean
  /** A comma may be within a value. */
  hasCommas?: boolean
}

/**
 * The option `vary`: `nu=0.3,0.6`, `k-max=0.5:0.8:0.1`, or `content=a cat|a dog`, where commas belong to the values.
 *
 * @param base the options that are given beside it: of a part of an option the rest is theirs
 */
export function varyFrom(texts: readonly string[], base: Readonly<Record<string, unknown>>): Vary {
  const spellings = spellingsOf(base)
  const vary: Record<string, unknown> = {}
  for (const text of texts) {
    const [, name = '', values] = /^\s*([\w-]+)\s*=(.*)$/s.exec(text) ?? []
    if (values === undefined || values.trim() === '') {
      throw new UsageError(`Expected NAME=VALUES for --vary but received '${text}'`)
    }
    const spelling = spellings.get(name)
    if (!spelling) {
      const names = [...spellings.keys()]
      throw new UsageError(
        `--vary has no option '${name}'; did you mean '${closest(name, names)}'?`,
      )
    }
    const { option } = spelling
    if (option in vary) throw new UsageError(`--vary ${name} is given twice`)
    vary[option] = valuesOf(values, name, spelling)
  }
  return vary
}

function valuesOf(text: string, name: string, spelling: Spelling): unknown {
  const range = text.split(':')
  if (spelling.isNumber && range.length > 1 && !text.includes('..')) {
    const [from, to, step, ...more] = range.map((part) => numberOf(part, name))
    if (step === undefined || more.length > 0) {
      throw new UsageError(`Expected FROM:TO:STEP for --vary ${name} but received '${text}'`)
    }
    return { from, to, step }
  }
  const separator = text.includes('|') || spelling.hasCommas ? '|' : ','
  return text.split(separator).map((part) => spelling.parse(part.trim()))
}

/** By the names of flags and of options. */
function spellingsOf(base: Readonly<Record<string, unknown>>): Map<string, Spelling> {
  const spellings = new Map<string, Spelling>()
  const plain = (option: string) => ({ option, parse: (text: string) => text })
  spellings.set('layout', plain('layout'))
  spellings.set('content', plain('content'))
  const layoutPrompt = (prompt: string) => ({ prompt })
  spellings.set('layout-prompt', { option: 'layout', parse: layoutPrompt })
  for (const [option, row] of Object.entries(mixOptions as Record<string, Option>)) {
    if (row.cli) {
      const spelling = { option, ...readerOf(row, row.cli.flag) }
      spellings.set(row.cli.flag, spelling)
      spellings.set(option, spelling)
    }
    for (const [field, part] of Object.entries(row.fields ?? {})) {
      if (!part.cli) continue
      const { parse, ...kind } = readerOf(part, part.cli.flag)
      const given = base[option] as object | undefined
      const within = (text: string) => ({ ...given, [field]: parse(text) })
      // A range of a part would be one of the whole.
      spellings.set(part.cli.flag, { option, ...kind, parse: within, isNumber: false })
    }
  }
  return spellings
}

function readerOf(option: Option, name: string): Omit<Spelling, 'option'> {
  const { schema, cli } = option
  const { parse, collect, multiple } = cli!
  if (takesNumbers(option)) {
    return { isNumber: true, parse: parse ?? ((text) => numberOf(text, name)) }
  }
  if (schema?.type === 'boolean') return { parse: (text) => flagOf(text, name) }
  if (parse && !multiple) return { parse }
  if (!parse) return { parse: (text) => text }
  if (collect) return { hasCommas: true, parse: (text) => collect([parse(text)] as never[]) }
  return { parse: (text) => (text === 'none' ? [] : [parse(text)]) }
}

function numberOf(text: string, name: string): number {
  const number = text.trim() === '' ? NaN : Number(text)
  if (Number.isNaN(number)) {
    throw new UsageError(`Expected numbers for --vary ${name} but received '${text}'`)
  }
  return number
}

function flagOf(text: string, name: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  throw new UsageError(`Expected true or false for --vary ${name} but received '${text}'`)
}

/** What `--vary` leaves to be given as arguments. */
export function isVaried({ vary }: Pick<SweepRequest, 'vary'>, option: keyof Vary): boolean {
  return vary[option] !== undefined
}
