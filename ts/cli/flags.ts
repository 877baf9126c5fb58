/** Flags of the command line from the tables of options, and the way back to options. */
import type { CliSpelling, Option, OptionTable } from '../options/option.js'
import { type Option as CliOption, type Options, type Values, numberOption } from './command.js'

/** The flags that the options of `table` have. */
export function flagsOf(table: OptionTable): Options {
  const flags: Record<string, CliOption> = {}
  for (const option of Object.values(table)) {
    if (option.fields) Object.assign(flags, flagsOf(option.fields))
    const { cli } = option
    if (!cli) continue
    flags[cli.flag] = {
      type: cli.value ? 'string' : 'boolean',
      ...(cli.short ? { short: cli.short } : {}),
      ...(cli.value ? { value: cli.value } : {}),
      ...(cli.multiple ? { multiple: true } : {}),
      help: helpFor(option, cli),
    }
  }
  return flags
}

/** 'strength of the prompts; 1 is no guidance [0..100, default 7.5]' */
function helpFor({ help, range, schema, ...option }: Option, cli: CliSpelling): string {
  const choices = schema?.enum as readonly string[] | undefined
  const values = choices && choices.length > 1 ? choices.join(', ') : range
  const byDefault = option.defaultText ?? plain(option.default)
  const facts = [
    choices || /^[-\d.e]+\.\./.test(range) ? values : '',
    byDefault && byDefault !== 'none' ? `default ${byDefault}` : '',
    cli.multiple ? 'may be repeated' : '',
  ].filter(Boolean)
  const sentence = cli.help ?? help
  const whole = facts.length > 0 ? `${sentence} [${facts.join(', ')}]` : sentence
  return whole.replaceAll('`', '')
}

function plain(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** The options of `table` that were given on the command line. */
export function optionsFrom(table: OptionTable, values: Values): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const [name, option] of Object.entries(table)) {
    const value = option.fields ? fieldsFrom(option.fields, values) : valueOf(option, values)
    if (value !== undefined) options[name] = value
  }
  return options
}

function fieldsFrom(fields: OptionTable, values: Values): object | undefined {
  const options = optionsFrom(fields, values)
  return Object.keys(options).length > 0 ? options : undefined
}

function valueOf({ cli, schema }: Option, values: Values): unknown {
  if (!cli || values[cli.flag] === undefined) return undefined
  const type = schema?.type
  if (type === 'number' || type === 'integer') return numberOption(values, cli.flag)
  const { parse, collect } = cli
  if (!parse) return values[cli.flag]
  if (!cli.multiple) return parse(values[cli.flag] as string)
  const parsed = (values[cli.flag] as readonly string[]).map(parse)
  return collect ? collect(parsed as never[]) : parsed
}
