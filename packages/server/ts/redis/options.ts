/** How a server and its workers find each other. */
import { MagicMixError } from 'magicmix'

/**
 * Options of Redis; a server and its workers need the same ones.
 *
 * @example
 * <!-- snippet: types, needs a Redis -->
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const redis = { url: 'redis://localhost:6379', prefix: 'mixes', lockSeconds: 10, attempts: 2 }
 * const server = await createServer({ redis }) // workers with the same options do the work
 * ```
 */
export interface RedisOptions {
  /** `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, with TLS `rediss://`. */
  url: string
  /** Begin of all keys. Default 'magicmix'. */
  prefix?: string | undefined
  /** A worker that says nothing for so long is taken for dead, and its jobs are given to others. Default 30. */
  lockSeconds?: number | undefined
  /** How often a job is begun at most, because its worker died or ran out of memory. Default 3. */
  attempts?: number | undefined
  /** Bytes of a picture that a job gives. Default 64 MiB. */
  blobBytes?: number | undefined
  /** How long a job may wait: afterwards it is forgotten. Default a week. */
  waitSeconds?: number | undefined
}

export type FilledRedisOptions = Required<{
  [Name in keyof RedisOptions]: NonNullable<RedisOptions[Name]>
}>

const numbers = {
  lockSeconds: { byDefault: 30, min: 0.5 },
  attempts: { byDefault: 3, min: 1 },
  blobBytes: { byDefault: 64 * 2 ** 20, min: 1024 },
  waitSeconds: { byDefault: 7 * 24 * 3600, min: 1 },
}

/** @throws MagicMixError INVALID_ARGUMENT, UNKNOWN_OPTION */
export function filledRedis(options: RedisOptions): FilledRedisOptions {
  const { url, prefix = 'magicmix' } = options
  const names = ['url', 'prefix', ...Object.keys(numbers)]
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue
    const message = `redis has no option '${name}'; it has ${names.join(', ')}`
    throw new MagicMixError('UNKNOWN_OPTION', message, { option: name })
  }
  // Not shown in the error: it may hold a password.
  if (typeof url !== 'string' || !/^rediss?:\/\/./.test(url) || !URL.canParse(url)) {
    throw invalid('url', 'redis://HOST:PORT or rediss://HOST:PORT')
  }
  if (typeof prefix !== 'string' || !/^[\w{}.-]{1,100}$/.test(prefix)) {
    throw invalid('prefix', '1 to 100 letters, digits, dots and dashes', prefix)
  }
  const filled = Object.entries(numbers).map(([name, { byDefault, min }]) => {
    const value = options[name as keyof typeof numbers] ?? byDefault
    if (!(typeof value === 'number' && value >= min && value <= 2 ** 31)) {
      throw invalid(name, `a number from ${min}`, value)
    }
    return [name, value]
  })
  return { url, prefix, ...Object.fromEntries(filled) } as FilledRedisOptions
}

function invalid(option: string, expected: string, received?: unknown): MagicMixError {
  const name = `redis.${option}`
  const but = received === undefined ? '' : ` but received ${JSON.stringify(received)}`
  return new MagicMixError('INVALID_ARGUMENT', `Expected ${expected} for ${name}${but}`, {
    ...{ name, expected, received },
  })
}
