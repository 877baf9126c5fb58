/** The context of a request. */
import type { Jobs, Order } from './jobs/jobs.js'
import type { Limits } from './limits.js'
import type { ModelSet } from './models/models.js'
import type { WorkerCard } from './redis/crew.js'
import type { Guard } from './request/guard.js'
import type { RequestSchemas } from './request/schemas.js'

/**
 * What the routes of a server know.
 *
 * @example
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const { context } = await createServer()
 * console.log(context.models.names, context.limits.steps, await context.jobs.counts())
 * ```
 */
export interface Context {
  /** Where jobs are kept and worked on. */
  jobs: Jobs
  /** The models that requests may name. */
  models: ModelSet
  /** Who works on jobs, where that is not this process. */
  workers: () => readonly WorkerCard[]
  /** What is refused for its size or number. */
  limits: Limits
  /** Names that requests may have for LoRAs. */
  loras: readonly string[]
  /** Of the bodies of mixes and sweeps. */
  schemas: RequestSchemas
  /** What is taken from clients at all. */
  guard: Guard
  /** What `mix` and `sweep` would refuse. */
  check: (order: Order) => Promise<void>
  /** Milliseconds between two comments of an event stream. */
  heartbeat: number
  /** Aborts when the server closes: event streams end then. */
  closing: AbortSignal
  /** No more jobs are taken. */
  isDraining: () => boolean
}
