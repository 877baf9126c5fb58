/** What `magicmix serve` runs. */
import path from 'node:path'

import { type LoadOptions, MagicMixError } from 'magicmix'

import { type Config, readConfig } from './config.js'
import { inTheBox } from './models/sources.js'
import { type LogLevel, type ServerOptions, logLevels } from './options.js'
import { createServer } from './server.js'

/**
 * Options of {@link serve}, as `magicmix serve` has them.
 *
 * @example
 * <!-- snippet: types, needs a model -->
 * ```ts
 * import { serve } from 'magicmix-server'
 *
 * await serve({
 *   host: '0.0.0.0', port: 8080, token: process.env.MAGICMIX_TOKEN, log: 'info',
 *   load: { model: 'sd-v1-4.safetensors' },
 *   signal: AbortSignal.timeout(3_600_000),
 * })
 * ```
 */
export interface ServeOptions {
  /** Default 127.0.0.1. */
  host?: string | undefined
  /** Default 7860; 0 is any that is free. */
  port?: number | undefined
  /** What clients have to show. Default: the config file's. Needed for any address but this machine's own. */
  token?: string | undefined
  /** A config file. What is given beside it wins. */
  config?: string | undefined
  /** Options of the one model; not beside the models of a config file. */
  load?: LoadOptions | undefined
  /** Address of a Redis: workers do the work. */
  redis?: string | undefined
  /** The {@link LogLevel}. Default 'warn'. */
  log?: string | undefined
  /** Ends it: running jobs are finished. */
  signal: AbortSignal
  /** Told the address once it answers. */
  onListening?: ((address: string) => void) | undefined
}

const usualPort = 7860

/**
 * Resolves when the server has ended.
 *
 * @example
 * ```ts
 * import { serve } from 'magicmix-server'
 *
 * const stop = new AbortController()
 * process.once('SIGTERM', () => stop.abort())
 * const ended = serve({ port: 7860, signal: stop.signal, onListening: (address) => console.log(address) })
 * ```
 */
export async function serve(options: ServeOptions): Promise<void> {
  const { config: file } = options
  const { host, port, ...config }: Config = file === undefined ? {} : await readConfig(file)
  const token = options.token ?? config.token
  const redis = redisOf(options.redis, config)
  const models = modelsOf(options.load, config, redis !== undefined)
  const server = await createServer({
    ...config,
    ...{ models, redis },
    ...{ token, log: levelOf(options.log) ?? config.log ?? 'warn', processMetrics: true },
  })
  try {
    const address = await server.listen({
      host: options.host ?? host,
      port: options.port ?? port ?? usualPort,
    })
    options.onListening?.(address)
    await aborted(options.signal)
    await server.drain()
  } finally {
    await server.close()
  }
}

/** Of a command line and a config file: what is given on the command line wins. */
export function redisOf(
  url: string | undefined,
  { redis }: Pick<Config, 'redis'>,
): ServerOptions['redis'] {
  return url === undefined ? redis : { ...redis, url }
}

/** Without names a server of workers knows those that workers have. */
export function modelsOf(
  load: LoadOptions | undefined,
  { models }: Pick<Config, 'models'>,
  isElsewhere: boolean,
): ServerOptions['models'] {
  if (models && load) {
    const message = 'The config file has models: say there which, and how they are loaded'
    throw new MagicMixError('INVALID_ARGUMENT', message, { name: 'model' })
  }
  if (models !== undefined || (isElsewhere && load?.model === undefined)) return models
  return { [nameOf(load?.model)]: load ?? {} }
}

/** `sd-v1-4` of `models/sd-v1-4.safetensors`. */
function nameOf(model: string | undefined): string {
  if (model === undefined) return inTheBox
  if (model.startsWith('hf:')) return model.slice(3)
  return path.parse(path.resolve(model)).name
}

/** From a command line. */
export function levelOf(text: string | undefined): LogLevel | undefined {
  if (text === undefined || logLevels.includes(text as LogLevel))
    return text as LogLevel | undefined
  const expected = `one of ${logLevels.join(', ')}`
  throw new MagicMixError(
    'INVALID_ARGUMENT',
    `Expected ${expected} for log but received '${text}'`,
    {
      ...{ name: 'log', expected, received: text },
    },
  )
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
