/** Placeholders of textual inversion: the option, and finding them in a prompt. */
import { UsageError } from '../errors.js'
import { invalid, nonEmptyText, record } from '../options/validate.js'

/** The option `embeddings`: files by placeholder. */
export const embeddings = {
  help: 'files of textual inversion by the placeholder that stands for each in prompts',
  range: "`{ '<cat-toy>': file }`",
  default: {} as Record<string, string>,
  defaultText: 'none',
  crosses: true as const,
  check: checkEmbeddings,
  schema: {
    type: 'object',
    propertyNames: { pattern: '^\\S+$' },
    additionalProperties: { type: 'string', minLength: 1 },
  },
  cli: {
    flag: 'embedding',
    value: 'NAME=FILE',
    help: 'a textual inversion and its name in prompts',
    multiple: true as const,
    parse: parseEmbedding,
    collect: (pairs: [string, string][]) => Object.fromEntries(pairs),
  },
}

/** `<cat-toy>=learned_embeds.safetensors` */
function parseEmbedding(text: string): [placeholder: string, file: string] {
  const [, placeholder, file] = /^([^=\s]+)=(.+)$/.exec(text) ?? []
  if (placeholder === undefined || file === undefined) {
    throw new UsageError(`Expected NAME=FILE for --embedding but received '${text}'`)
  }
  return [placeholder, file]
}

function checkEmbeddings(value: unknown): Record<string, string> {
  const given = record(value, 'embeddings')
  return Object.fromEntries(
    Object.entries(given).map(([placeholder, file]) => {
      if (!/^[^\s\0]+$/u.test(placeholder)) {
        throw invalid('a placeholder of embeddings', 'text without white space', placeholder)
      }
      return [placeholder, nonEmptyText(file, `embeddings['${placeholder}']`)]
    }),
  )
}

/** What is looked for in a prompt, and how. */
export interface Findable {
  readonly placeholder: string
  readonly anyCase: boolean
  readonly wholeWord: boolean
}

/**
 * Cuts `text` into placeholders and the text between them. Where several begin at the same place the
 * longest wins.
 */
export function splitAt<P extends Findable>(
  text: string,
  placeholders: readonly P[],
): (string | P)[] {
  if (placeholders.length === 0) return [text]
  const byLength = [...placeholders].sort((a, b) => b.placeholder.length - a.placeholder.length)
  const anyOfThem = new RegExp(byLength.map((each) => `(${patternOf(each)})`).join('|'), 'gu')
  const parts: (string | P)[] = []
  let end = 0
  for (const { 0: found, index, ...groups } of text.matchAll(anyOfThem)) {
    const which = byLength.findIndex((_, i) => groups[i + 1] !== undefined)
    parts.push(text.slice(end, index), byLength[which]!)
    end = index + found.length
  }
  return [...parts, text.slice(end)]
}

function patternOf({ placeholder, anyCase, wholeWord }: Findable): string {
  const escaped = placeholder.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`)
  const pattern = anyCase ? escaped.replace(/\p{L}/gu, inAnyCase) : escaped
  const inWord = String.raw`[\p{L}\p{M}\p{N}_]`
  const before = wholeWord && new RegExp(`^${inWord}`, 'u').test(placeholder)
  const after = wholeWord && new RegExp(`${inWord}$`, 'u').test(placeholder)
  return (before ? `(?<!${inWord})` : '') + pattern + (after ? `(?!${inWord})` : '')
}

function inAnyCase(letter: string): string {
  return `[${letter.toLowerCase()}${letter.toUpperCase()}]`
}
