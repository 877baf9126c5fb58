/** Where models are and jobs are worked on: in this process, or with workers that Redis connects it to. */
import type { FastifyBaseLogger } from 'fastify'
import { MagicMixError } from 'magicmix'

import type { Jobs, JobsOptions } from './jobs/jobs.js'
import { MemoryJobs } from './jobs/memory-jobs.js'
import type { Limits } from './limits.js'
import { type ModelSet, Models } from './models/models.js'
import { sourcesOf } from './models/sources.js'
import type { ServerOptions } from './options.js'
import type { WorkerCard } from './redis/crew.js'
import type { Metrics } from './routes/metrics.js'
import { workWith } from './work/work.js'

export interface Backend {
  models: ModelSet
  workers: () => readonly WorkerCard[]
  makeJobs: (options: Omit<JobsOptions, 'work'>) => Jobs
}

export async function backendOf(
  options: ServerOptions,
  limits: Limits,
  log: FastifyBaseLogger,
  metrics: Metrics,
): Promise<Backend> {
  if (options.redis) return redisBackend(options, options.redis, limits, log)
  const models = new Models({
    ...sourcesOf(options),
    memory: options.memory,
    onLoad: (model, ms) => {
      metrics.load(model)
      log.info({ model, ms: Math.round(ms) }, 'model loaded')
    },
    onUnload: (model) => log.info({ model }, 'model unloaded'),
  })
  const work = workWith(models, options.loras ?? {})
  const make = options.jobs ?? ((given: JobsOptions) => new MemoryJobs(given))
  return { models, workers: () => [], makeJobs: (given) => make({ ...given, work }) }
}

/** The packages for Redis are loaded only here. */
async function redisBackend(
  options: ServerOptions,
  redis: NonNullable<ServerOptions['redis']>,
  limits: Limits,
  log: FastifyBaseLogger,
): Promise<Backend> {
  for (const name of ['mixer', 'jobs'] as const) {
    if (options[name] === undefined) continue
    const message = `redis does not go with ${name}: workers have the models`
    throw new MagicMixError('INVALID_ARGUMENT', message, { name })
  }
  const { RedisJobs, RedisPlace, RemoteModels, oncePerOutage } = await import('./redis/index.js')
  const place = await RedisPlace.open(
    redis,
    limits,
    oncePerOutage((err) => log.warn({ err }, 'redis')),
  )
  const names = Object.keys(options.models ?? {})
  return {
    models: new RemoteModels(place, names, options.defaultModel),
    workers: () => place.crew.workers,
    makeJobs: (given) => new RedisJobs(place, given),
  }
}
