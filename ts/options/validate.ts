/**
 * Small checks of values from outside, and the one way of saying that a value is wrong:
 * "Expected X for NAME but received VALUE".
 */
import { types } from 'node:util'

import { closest, distance } from 'fastest-levenshtein'

import { MagicMixError, jsonSafe } from '../errors.js'

export type UnknownRecord = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is UnknownRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The error for a wrong value. */
export function invalid(name: string, expected: string, received: unknown): MagicMixError {
  return new MagicMixError(
    'INVALID_ARGUMENT',
    `Expected ${expected} for ${name} but received ${describe(received)}`,
    // Whole pictures do not belong into logs.
    { name, expected, received: Object(received) === received ? jsonSafe(received) : received },
  )
}

/** Refuses keys that `owner` does not have, with a suggestion where one is near. */
export function refuseUnknownKeys(
  value: UnknownRecord,
  known: readonly string[],
  owner: string,
): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    if (known.length === 0) {
      throw new MagicMixError('UNKNOWN_OPTION', `${owner} has no options, and none '${key}'`, {
        option: key,
      })
    }
    const near = closest(key.toLowerCase(), known)
    const suggestion =
      known.find((name) => name.toLowerCase() === key.toLowerCase()) ??
      (distance(key.toLowerCase(), near.toLowerCase()) <= Math.max(2, key.length / 3)
        ? near
        : undefined)
    throw new MagicMixError(
      'UNKNOWN_OPTION',
      `${owner} has no option '${key}'` +
        (suggestion ? `; did you mean '${suggestion}'?` : `; it has ${known.join(', ')}`),
      { option: key, ...(suggestion ? { suggestion } : {}) },
    )
  }
}

export function record(value: unknown, name: string): UnknownRecord {
  if (!isRecord(value)) throw invalid(name, 'an object', value)
  return value
}

export function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalid(name, 'a string', value)
  return value
}

export function nonEmptyText(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(name, 'a non-empty string', value)
  return value
}

export function flag(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw invalid(name, 'true or false', value)
  return value
}

export function numberBetween(value: unknown, min: number, max: number, name: string): number {
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw invalid(name, `a number between ${min} and ${max}`, value)
  }
  return value
}

export function integerBetween(value: unknown, min: number, max: number, name: string): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw invalid(name, `an integer between ${min} and ${max}`, value)
  }
  return value as number
}

export function oneOf<T extends string>(value: unknown, allowed: readonly T[], name: string): T {
  if (!allowed.includes(value as T)) {
    throw invalid(name, `one of ${allowed.map((each) => `'${each}'`).join(', ')}`, value)
  }
  return value as T
}

export function optionalFunction<F>(value: unknown, name: string): F | undefined {
  if (value !== undefined && typeof value !== 'function') throw invalid(name, 'a function', value)
  return value as F | undefined
}

export function optionalSignal(value: unknown, name: string): AbortSignal | undefined {
  // By shape, not by class: a signal may come from another realm or a polyfill.
  const isSignal =
    value instanceof EventTarget ||
    (isRecord(value) && typeof value.addEventListener === 'function')
  if (value !== undefined && !(isSignal && 'aborted' in (value as object))) {
    throw invalid(name, 'an AbortSignal', value)
  }
  return value as AbortSignal | undefined
}

/** A value as a message shows it: short, and telling its type where that is not plain. */
export function describe(value: unknown): string {
  if (typeof value === 'string')
    return `'${value.length > 60 ? `${value.slice(0, 57)}...` : value}'`
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    return `a ${value.constructor.name} of ${value.byteLength} bytes`
  }
  if (typeof value === 'function') return 'a function'
  if (types.isPromise(value)) return 'a promise'
  if (typeof value === 'bigint') return `${value}n`
  if (isRecord(value)) {
    const keys = Object.keys(value)
    return keys.length > 0 ? `an object with ${keys.slice(0, 8).join(', ')}` : 'an empty object'
  }
  return String(value)
}
