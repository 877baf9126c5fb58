/** The limits of a server: one row each, from which come the checks, the README's table and /v1/capabilities. */
import { MagicMixError } from 'magicmix'

/**
 * A limit of a server.
 *
 * @example
 * ```ts
 * import { type LimitRow, limitRows } from 'magicmix-server'
 *
 * const { help, default: usual, min }: LimitRow = limitRows.queue
 * console.log(`${help}: ${usual}, at least ${min}`) // jobs that wait: 100, at least 0
 * ```
 */
export interface LimitRow {
  /** What it counts. */
  readonly help: string
  /** Where nothing else is said. */
  readonly default: number
  /** The least that may be said. */
  readonly min: number
}

const rows = {
  bodyBytes: { help: 'bytes of a request, pictures included', default: 24 * 2 ** 20, min: 1024 },
  picturePixels: { help: 'pixels of a picture that comes in', default: 2 ** 25, min: 64 },
  mixPixels: { help: 'pixels of a mix', default: 2 ** 21, min: 64 },
  steps: { help: 'steps of a mix', default: 150, min: 1 },
  cells: { help: 'mixes of a sweep', default: 100, min: 1 },
  queue: { help: 'jobs that wait', default: 100, min: 0 },
  queueBytes: { help: 'bytes of the requests that wait', default: 256 * 2 ** 20, min: 0 },
  keptJobs: { help: 'finished jobs that are kept', default: 1000, min: 1 },
  keptBytes: { help: 'bytes of their results', default: 512 * 2 ** 20, min: 0 },
  keptSeconds: { help: 'how long they are kept', default: 3600, min: 0 },
  ratePerMinute: { help: 'requests of a client per minute', default: 600, min: 1 },
  streams: { help: 'event streams that are open at a time', default: 200, min: 1 },
  requestSeconds: { help: 'how long a request may take to arrive', default: 60, min: 1 },
  drainSeconds: { help: 'how long running jobs may take to end at shutdown', default: 300, min: 0 },
} satisfies Record<string, LimitRow>

/**
 * Names of the limits of a server.
 *
 * @example
 * ```ts
 * import { type LimitName, createServer } from 'magicmix-server'
 *
 * const limits: Partial<Record<LimitName, number>> = { steps: 60, queue: 20 }
 * const server = await createServer({ limits })
 * ```
 */
export type LimitName = keyof typeof rows
/**
 * The limits of a server: what each counts, and its default.
 *
 * @example
 * ```ts
 * import { limitRows } from 'magicmix-server'
 *
 * for (const [name, { help, default: usual }] of Object.entries(limitRows)) console.log(name, usual, help)
 * ```
 */
export const limitRows: Readonly<Record<LimitName, LimitRow>> = rows
/**
 * The limits that a server has, filled in.
 *
 * @example
 * ```ts
 * import { type Limits, createServer } from 'magicmix-server'
 *
 * const { context } = await createServer({ limits: { steps: 60 } })
 * const { steps, queue }: Limits = context.limits
 * console.log(steps, queue) // 60 100
 * ```
 */
export type Limits = Readonly<Record<LimitName, number>>

/** @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION */
export function limitsFrom(given: Partial<Record<keyof Limits, number | undefined>> = {}): Limits {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(limitRows, name)) {
      const names = Object.keys(limitRows).join(', ')
      const message = `limits has no option '${name}'; it has ${names}`
      throw new MagicMixError('UNKNOWN_OPTION', message, { option: name })
    }
  }
  const values = Object.entries(limitRows).map(([name, { default: byDefault, min }]) => {
    const value = given[name as keyof Limits] ?? byDefault
    if (!(typeof value === 'number' && value >= min && value <= Number.MAX_SAFE_INTEGER)) {
      const expected = `a number from ${min}`
      throw new MagicMixError(
        'INVALID_ARGUMENT',
        `Expected ${expected} for limits.${name} but received ${String(value)}`,
        { name: `limits.${name}`, expected, received: value },
      )
    }
    return [name, value]
  })
  return Object.freeze(Object.fromEntries(values)) as Limits
}
