/**
 * Options. A call's options are declared once, in a table of rows; from it come the checks,
 * the filled-in values, the flags of the command line and their help, the tables in the docs, and the
 * JSON Schema.
 */
import {
  type UnknownRecord,
  flag as checkFlag,
  integerBetween,
  nonEmptyText,
  numberBetween,
  oneOf,
  optionalFunction,
  optionalSignal,
  record,
  refuseUnknownKeys,
  text as checkText,
  invalid,
} from './validate.js'

/**
 * A part of a JSON Schema (draft 2020-12).
 *
 * @example
 * ```ts
 * import { type JsonSchema, requestSchema } from 'magicmix'
 *
 * const { nu } = requestSchema.properties as Record<string, JsonSchema>
 * console.log(nu?.description, nu?.default)
 * ```
 */
export type JsonSchema = Readonly<Record<string, unknown>>

/** How the command line spells an option. */
export interface CliSpelling {
  /** Without its dashes: 'k-min'. */
  readonly flag: string
  readonly short?: string
  /** Stands for the value in the help: 'N', 'FILE'. None: the flag takes no value. */
  readonly value?: string
  /** The sentence for the command line, where one flag is less than the option. */
  readonly help?: string
  /** May be repeated; the option is a list. */
  readonly multiple?: true
  /** From one text on the command line to a value; throws a `UsageError`. */
  readonly parse?: (text: string) => unknown
  /** Of a repeated option: from its values to the option's; else a list of them. */
  readonly collect?: (values: never[]) => unknown
}

/** The part of a row that options of every kind have. */
export interface Row<T> {
  /** The sentence for people, without range and default. */
  readonly help: string
  /** Of a missing option: a value, or how to make it from the other options. */
  readonly default?: T | ((others: UnknownRecord) => T)
  /** The default in words, where the value does not say it. */
  readonly defaultText?: string
  /** A missing option is an error. */
  readonly required?: true
  /** Required, unless the option of that name is given, which takes its place. */
  readonly instead?: string
  /** The engine gets the value under the same name. */
  readonly crosses?: true
  /** An earlier name, which is still taken. */
  readonly formerly?: string
  readonly cli?: CliSpelling
}

/** An option: how its values are checked, and its description for people. */
export interface Option<T = unknown> extends Row<T> {
  /** Gives the value in its own form, or throws INVALID_ARGUMENT; `name` says where it stands. */
  readonly check: (value: unknown, name: string) => T
  /** Its values in words: '0..1'. Empty where the sentence says enough. */
  readonly range: string
  /** Absent for values that JSON cannot hold. */
  readonly schema?: JsonSchema
  /** Of an object: the options in it. */
  readonly fields?: OptionTable
}

export type OptionTable = Readonly<Record<string, Option>>

/** The value of an option once defaults are filled in. */
export type FilledValue<O> = O extends { check: (value: unknown, name: string) => infer T }
  ? O extends { required: true } | { default: unknown }
    ? T
    : T | undefined
  : never

/** A table's options, checked and with defaults filled in. */
export type Filled<T> = { -readonly [K in keyof T]: FilledValue<T[K]> }

/** Those of a table's values that the engine gets under the same name. */
export type Crossing<T> = {
  -readonly [K in keyof T as T[K] extends { crosses: true } ? K : never]: FilledValue<T[K]>
}

// -------------------------------------------------------------------------------------------------
// Kinds of options

export function number<const R extends Row<number>>(min: number, max: number, row: R) {
  return {
    ...row,
    check: (value: unknown, name: string) => numberBetween(value, min, max, name),
    range: `${min}..${max}`,
    schema: { type: 'number', minimum: min, maximum: max },
  }
}

export function integer<const R extends Row<number>>(min: number, max: number, row: R) {
  return {
    ...row,
    check: (value: unknown, name: string) => integerBetween(value, min, max, name),
    range: `${min}..${max === Number.MAX_SAFE_INTEGER ? '2^53-1' : max}`,
    schema: { type: 'integer', minimum: min, maximum: max },
  }
}

export function flag<const R extends Row<boolean>>(row: R) {
  return { ...row, check: checkFlag, range: '', schema: { type: 'boolean' } }
}

export function text<const R extends Row<string>>(row: R) {
  return { ...row, check: checkText, range: '', schema: { type: 'string' } }
}

export function filledText<const R extends Row<string>>(row: R) {
  return { ...row, check: nonEmptyText, range: '', schema: { type: 'string', minLength: 1 } }
}

/**
 * Marks the schema of a text that names a file on this machine or on the hub: where requests come from elsewhere, such
 * as a server, it is not taken.
 */
export const namesFile = { 'x-names-file': true } as const

/** A text that names a file. */
export function fileName<const R extends Row<string>>(row: R) {
  return {
    ...row,
    check: nonEmptyText,
    range: '',
    schema: { type: 'string', minLength: 1, ...namesFile },
  }
}

export function choice<const V extends string, const R extends Row<V>>(
  values: readonly V[],
  row: R,
) {
  return {
    ...row,
    check: (value: unknown, name: string): V => oneOf(value, values, name),
    range: values.map((value) => `'${value}'`).join(' '),
    schema: { enum: values },
  }
}

/** A list of values, each checked by `option`; `expected` describes the list in messages. */
export function list<T, const R extends Row<T[]>>(option: Listed<T>, expected: string, row: R) {
  return {
    ...row,
    check: (value: unknown, name: string): T[] => {
      if (!Array.isArray(value)) throw invalid(name, expected, value)
      return value.map((entry: unknown, i) => option.check(entry, `${name}[${i}]`))
    },
    range: option.range,
    schema: { type: 'array', items: option.schema },
  }
}
type Listed<T> = Pick<Option<T>, 'check' | 'range' | 'schema'>

/** An object with options of its own; those that are not given are left out. */
export function object<T extends OptionTable, const R extends Row<Given<T>>>(fields: T, row: R) {
  return {
    ...row,
    fields,
    check: (value: unknown, name: string) =>
      given(checkOptions(fields, value, name, `${name}.`)) as Given<T>,
    range: '',
    schema: schemaOf(fields),
  }
}
/** The filled-in options without those that are undefined. */
export type Given<T> = {
  [K in keyof Filled<T> as undefined extends Filled<T>[K] ? never : K]: Filled<T>[K]
} & {
  [K in keyof Filled<T> as undefined extends Filled<T>[K] ? K : never]?: Exclude<
    Filled<T>[K],
    undefined
  >
}

export function callback<F, const R extends Row<F> = Row<F>>(row: R) {
  return {
    ...row,
    check: (value: unknown, name: string) => optionalFunction<F>(value, name) as F,
    range: '',
  }
}

export function signal<const R extends Row<AbortSignal>>(row: R) {
  return {
    ...row,
    check: (value: unknown, name: string) => optionalSignal(value, name) as AbortSignal,
    range: 'an `AbortSignal`',
  }
}

/** Whether a number may be its value. */
export function takesNumbers({ schema }: Pick<Option, 'schema'>): boolean {
  return [schema?.type].flat().some((type) => type === 'number' || type === 'integer')
}

// -------------------------------------------------------------------------------------------------
// Checking

/**
 * Checks `value`, whatever it is, against a table, and fills in the defaults.
 *
 * @param owner the owner of the options, in messages about unknown ones: 'mix'
 * @param prefix stands before an option's name in messages: 'attention[0].'
 * @param what describes `value` in messages: 'the request'
 */
export function checkOptions<T extends OptionTable>(
  table: T,
  value: unknown,
  owner: string,
  prefix = '',
  what = owner,
): Filled<T> {
  const received = withPresentNames(table, record(value, what), prefix)
  refuseUnknownKeys(received, Object.keys(table), owner)

  const filled: Record<string, unknown> = {}
  const made: [string, (others: UnknownRecord) => unknown][] = []
  for (const [name, option] of Object.entries(table as Record<string, Option>)) {
    const { [name]: one } = received
    if (one !== undefined || isMissing(name, table, received)) {
      refuseBoth(name, option.instead, received, prefix)
      filled[name] = option.check(one, prefix + name)
    } else if (typeof option.default === 'function') {
      filled[name] = undefined // keeps its place
      made.push([name, option.default as (others: UnknownRecord) => unknown])
    } else {
      filled[name] = option.default
    }
  }
  for (const [name, make] of made) filled[name] = make(filled)
  return filled as Filled<T>
}

/** Has to be given, and is not. */
export function isMissing(name: string, table: OptionTable, given: UnknownRecord): boolean {
  const { required, instead } = table[name]!
  const isThere = (option: string) => given[option] !== undefined && given[option] !== null
  return !isThere(name) && (required ?? (instead !== undefined && !isThere(instead)))
}

function refuseBoth(
  name: string,
  instead: string | undefined,
  given: UnknownRecord,
  prefix: string,
): void {
  const other = instead === undefined ? undefined : given[instead]
  if (other === undefined || other === null) return
  throw invalid(`${prefix}${instead}`, `nothing beside ${prefix}${name}`, other)
}

/** Options under the names that they have now. */
function withPresentNames(table: OptionTable, value: UnknownRecord, prefix: string): UnknownRecord {
  const renamed = { ...value }
  for (const [name, { formerly }] of Object.entries(table)) {
    if (formerly === undefined || !Object.hasOwn(value, formerly)) continue
    if (value[name] !== undefined && value[formerly] !== undefined) {
      throw invalid(
        prefix + formerly,
        `nothing beside ${prefix}${name}, its new name,`,
        value[formerly],
      )
    }
    Reflect.deleteProperty(renamed, formerly)
    if (value[formerly] !== undefined) renamed[name] = value[formerly]
  }
  return renamed
}

function given(values: UnknownRecord): UnknownRecord {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/** The values that cross to the engine under their names. */
export function crossing<T extends OptionTable>(table: T, filled: Filled<T>): Crossing<T> {
  const names = Object.keys(table).filter((name) => table[name]?.crosses)
  return Object.fromEntries(names.map((name) => [name, filled[name]])) as Crossing<T>
}

// -------------------------------------------------------------------------------------------------
// JSON Schema

/** The schema of an object with these options. */
export function schemaOf(table: OptionTable): JsonSchema {
  const properties: Record<string, JsonSchema> = {}
  for (const [name, option] of Object.entries(table)) {
    if (!option.schema) continue
    const hasValue = option.default !== undefined && typeof option.default !== 'function'
    properties[name] = {
      ...option.schema,
      description: option.help,
      ...(hasValue ? { default: option.default } : {}),
    }
    if (option.formerly) properties[option.formerly] = { ...option.schema, deprecated: true }
  }
  const names = Object.keys(properties)
  const required = names.filter((name) => table[name]?.required)
  const either = names.flatMap((name) => {
    const instead = table[name]?.instead
    if (instead === undefined) return []
    const isGiven = { properties: { [instead]: { not: { type: 'null' } } }, required: [instead] }
    return [{ oneOf: [{ required: [name] }, isGiven] }]
  })
  return {
    type: 'object',
    properties,
    ...(required.length > 0 ? { required } : {}),
    ...(either.length > 0 ? { allOf: either } : {}),
    additionalProperties: false,
  }
}
