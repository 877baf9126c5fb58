/** Commands of the command line, and reading their arguments. */
import { type ParseArgsConfig, parseArgs } from 'node:util'

import { closest, distance } from 'fastest-levenshtein'

import { UsageError } from '../errors.js'

export { UsageError }

/** One option of a command. */
export interface Option {
  type: 'string' | 'boolean'
  short?: string
  multiple?: boolean
  /** Stands for the value in the help: 'N', 'FILE'. */
  value?: string
  help: string
}
export type Options = Readonly<Record<string, Option>>

/** The values of a command's options, by name. */
export type Values = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** The arguments that a command runs with. */
export interface Arguments {
  positionals: string[]
  values: Values
  /** Aborts on Ctrl-C. */
  signal: AbortSignal
}

export interface Command {
  name: string
  /** How it is called: 'mix LAYOUT CONTENT'. */
  usage: string
  summary: string
  /** Its effect, in a few lines. */
  about: string
  /** At least one, with its effect. */
  examples: readonly string[]
  options: Options
  /** Resolves to the exit code; nothing means 0. */
  run(args: Arguments): Promise<number | void>
}

/** Options that every command has. Also for the documents. @public */
export const commonOptions: Options = {
  json: { type: 'boolean', help: 'print one JSON object on standard output, and nothing else' },
  verbose: { type: 'boolean', help: 'print the stack of an error' },
  help: { type: 'boolean', short: 'h', help: 'print this' },
}

/** Reads the arguments of `command`. */
export function readArguments(
  command: Command,
  args: readonly string[],
): Omit<Arguments, 'signal'> {
  const options: Options = { ...command.options, ...commonOptions }
  try {
    const config: ParseArgsConfig = {
      args: [...args],
      options: Object.fromEntries(
        Object.entries(options).map(([name, { type, short, multiple }]) => [
          name,
          { type, ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) },
        ]),
      ),
      allowPositionals: true,
    }
    const { positionals, values } = parseArgs(config)
    return { positionals, values: values as Values }
  } catch (error) {
    if (!isParseError(error)) throw error
    const message = error.message.replace(/\. To specify a positional argument.*/s, '')
    throw new UsageError(message + suggestion(message, Object.keys(options)))
  }
}

/** The help of a command. */
export function helpOf({ usage, about, examples, options }: Command): string {
  return [
    `Usage: magicmix ${usage}`,
    '',
    about,
    '',
    'Options:',
    ...optionLines({ ...options, ...commonOptions }),
    '',
    examples.length > 1 ? 'Examples:' : 'Example:',
    ...examples.map((example) => example.replace(/^/gm, '  ')),
  ].join('\n')
}

function optionLines(options: Options): string[] {
  const named = Object.entries(options).map(([name, { short, value, help }]) => ({
    left: `  ${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`,
    help,
  }))
  const width = Math.max(...named.map(({ left }) => left.length)) + 2
  return named.map(({ left, help }) => left.padEnd(width) + help)
}

/** The value of an option that takes a text. */
export function textOption(values: Values, name: string): string | undefined {
  return values[name] as string | undefined
}

/** The value of an option that takes a number. */
export function numberOption(values: Values, name: string): number | undefined {
  const text = textOption(values, name)
  if (text === undefined) return undefined
  const number = text.trim() === '' ? NaN : Number(text)
  if (Number.isNaN(number)) {
    throw new UsageError(`Expected a number for --${name} but received '${text}'`)
  }
  return number
}

function isParseError(error: unknown): error is Error {
  return (
    error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
  )
}

function suggestion(message: string, names: readonly string[]): string {
  const unknown = /^Unknown option '--([^']+)'/.exec(message)?.[1]
  if (unknown === undefined) return ''
  const near = closest(unknown, names)
  return distance(unknown, near) <= Math.max(2, unknown.length / 3)
    ? `. Did you mean --${near}?`
    : ''
}
