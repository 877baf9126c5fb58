/** What `magicmix worker` runs. */
import { type LoadOptions, MagicMixError } from 'magicmix'
import { pino } from 'pino'

import { readConfig } from './config.js'
import { limitsFrom } from './limits.js'
import { Models } from './models/models.js'
import { sourcesOf } from './models/sources.js'
import type { WorkerEvent } from './redis/redis-worker.js'
import { aborted, levelOf, modelsOf, redisOf } from './serve.js'
import { workWith } from './work/work.js'

/**
 * Options of {@link worker}, as `magicmix worker` has them.
 *
 * @example
 * <!-- snippet: types, needs a Redis -->
 * ```ts
 * import { worker } from 'magicmix-server'
 *
 * await worker({
 *   redis: 'redis://localhost:6379', load: { model: 'hf:sd1.5' },
 *   signal: AbortSignal.timeout(3_600_000),
 *   onReady: (models) => console.log(`works for ${models.join(', ')}`),
 * })
 * ```
 */
export interface WorkerOptions {
  /** Address of the Redis that `serve` puts jobs into. */
  redis?: string | undefined
  /** The config file, the server's own: of it `models`, `memory`, `loras`, `limits`, `redis` and `log` count. */
  config?: string | undefined
  /** Options of the one model, where the config file has none. */
  load?: LoadOptions | undefined
  /** The {@link LogLevel}. Default 'warn'. */
  log?: string | undefined
  /** Ends it: running jobs are finished. */
  signal: AbortSignal
  /** Told its models once it takes jobs for them. */
  onReady?: ((models: readonly string[]) => void) | undefined
}

/**
 * Resolves when the worker has ended.
 *
 * @example
 * <!-- snippet: types, needs a Redis -->
 * ```ts
 * import { worker } from 'magicmix-server'
 *
 * const stop = new AbortController()
 * process.once('SIGTERM', () => stop.abort())
 * await worker({ redis: 'redis://localhost:6379', signal: stop.signal })
 * ```
 */
export async function worker(options: WorkerOptions): Promise<void> {
  const config = options.config === undefined ? {} : await readConfig(options.config)
  const redis = redisOf(options.redis, config)
  if (redis === undefined) {
    const message = 'Expected the address of a Redis for redis: a worker takes its jobs from there'
    throw new MagicMixError('INVALID_ARGUMENT', message, { name: 'redis' })
  }
  const level = levelOf(options.log) ?? config.log ?? 'warn'
  const log = pino({ level }, pino.destination({ dest: 2, sync: true }))
  const models = new Models({
    ...sourcesOf({ models: modelsOf(options.load, config, false) }),
    memory: config.memory,
    onLoad: (model, ms) => log.info({ model, ms: Math.round(ms) }, 'model loaded'),
    onUnload: (model) => log.info({ model }, 'model unloaded'),
  })
  const { RedisWorker, oncePerOutage } = await import('./redis/index.js')
  const troubled = oncePerOutage((err: unknown) => log.warn({ err }, 'redis'))
  const starting = RedisWorker.start({
    ...{ redis, models, limits: limitsFrom(config.limits), signal: options.signal },
    work: workWith(models, config.loras ?? {}),
    onEvent: (event) => note(event),
  })
  const worker = await starting.catch((error: unknown) => {
    if (options.signal.aborted) return undefined
    throw error
  })
  if (!worker) return
  try {
    options.onReady?.(models.names)
    await aborted(options.signal)
    await worker.drain()
  } finally {
    await worker.close()
    await models.dispose()
  }

  function note(event: WorkerEvent): void {
    if (event.event === 'error') troubled(event.error)
    else if ('error' in event) log.warn({ job: event.job, err: event.error }, event.event)
    else log.info({ job: event.job }, event.event)
  }
}
