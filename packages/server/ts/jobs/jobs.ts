/**
 * Jobs: what clients ask for, from the queue to the results. Routes know this interface alone, so that jobs may be in
 * this process or in another's hands.
 */
import type { Limits } from '../limits.js'
import type { JobError } from '../problem.js'

/**
 * What a job makes.
 *
 * @example
 * ```ts
 * import type { JobKind } from 'magicmix-server'
 *
 * const routes: Record<JobKind, string> = { mix: '/v1/mixes', sweep: '/v1/sweeps' }
 * const addressOf = (kind: JobKind, id: string) => `http://127.0.0.1:7860${routes[kind]}/${id}`
 * ```
 */
export type JobKind = 'mix' | 'sweep'
/**
 * How far a job is; the last three are for good.
 *
 * @example
 * ```ts
 * import type { JobStatus } from 'magicmix-server'
 *
 * const isOver = (status: JobStatus) => ['completed', 'failed', 'cancelled'].includes(status)
 * ```
 */
export type JobStatus = 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'

/** Those that a job never leaves. */
export const isFinished = (status: JobStatus) => status !== 'queued' && status !== 'running'

/**
 * What a client has asked for, once it was checked.
 *
 * @example
 * ```ts
 * import { type Order, createServer } from 'magicmix-server'
 *
 * const { check } = (await createServer()).context
 * const order: Order = {
 *   kind: 'mix', model: 'world-128', bytes: 1000, priority: 0,
 *   request: { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger' },
 * }
 * await check(order) // throws what `mix` would throw before its first step
 * ```
 */
export interface Order {
  /** What it is to make. */
  kind: JobKind
  /** Name of the model. */
  model: string
  /** As `mix` and `sweep` take it, but for LoRAs, which have the server's names: pictures are `Buffer`s or pixels. */
  request: Record<string, unknown>
  /** About the memory that it takes. */
  bytes: number
  /** Of an Idempotency-Key: the key, and what tells this body from another. */
  once?:
    | {
        /** As the client sent it. */
        key: string
        /** Differs from that of any other body. */
        fingerprint: string
      }
    | undefined
  /** 0, the first, to 7; those of the same one in the order in which they came. Default 3. */
  priority?: number | undefined
}

export const usualPriority = 3

/**
 * A job as clients see it.
 *
 * @example
 * ```ts
 * import { type Job, createServer } from 'magicmix-server'
 *
 * const { app } = await createServer()
 * const payload = { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger' }
 * const job = (await app.inject({ method: 'POST', url: '/v1/mixes', payload })).json<Job>()
 * console.log(job.id, job.status, job.createdAt)
 * const later = (await app.inject(`/v1/mixes/${job.id}`)).json<Job>()
 * ```
 */
export interface Job {
  /** Its kind and 128 random bits: who knows it may see the job. */
  id: string
  /** What it makes. */
  kind: JobKind
  /** Name of its model. */
  model: string
  /** How far it is. */
  status: JobStatus
  /** When it was taken, in ISO 8601, like the other times. */
  createdAt: string
  /** When work on it began; null while it waits. */
  startedAt: string | null
  /** When it ended, however it did; null until then. */
  finishedAt: string | null
  /** From then on its id is gone; null while it is not finished. */
  expiresAt: string | null
  /** Of one that waits: jobs that come first. */
  position: number | null
  /** How far it is: the data of the latest `progress`. */
  progress: Record<string, unknown> | null
  /** Why it failed. */
  error: JobError | null
  /** Of a mix its size, seed, timings and recipe; of a sweep its plan, axes and the cells that are there. */
  result: Record<string, unknown> | null
}

/**
 * Kinds of {@link JobEvent}s.
 *
 * @example
 * ```ts
 * import type { EventName, JobEvent } from 'magicmix-server'
 *
 * const titles: Record<EventName, string> = {
 *   progress: 'A step', preview: 'A preview', cell: 'A mix of the sweep', end: 'The end',
 * }
 * const show = ({ event, data }: JobEvent) => console.log(titles[event], data)
 * ```
 */
export type EventName = 'progress' | 'preview' | 'cell' | 'end'

/**
 * An event of a job; ids rise.
 *
 * @example
 * ```ts
 * import { type JobEvent, createServer } from 'magicmix-server'
 *
 * const { jobs } = (await createServer()).context
 * const show = ({ id, event, data }: JobEvent) => console.log(id, event, data)
 * const watch = async (job: string, signal: AbortSignal) => {
 *   for await (const each of jobs.events(job, 0, signal)) show(each)
 * }
 * ```
 */
export interface JobEvent {
  /** From 1; for `Last-Event-ID`. */
  id: number
  /** Its kind. */
  event: EventName
  /** As docs/apis.md describes it for each kind. */
  data: Record<string, unknown>
}

/**
 * A picture that a job gave: a PNG.
 *
 * @example
 * ```ts
 * import { writeFile } from 'node:fs/promises'
 * import { type Blob, createServer } from 'magicmix-server'
 *
 * const { jobs } = (await createServer()).context
 * const save = async (id: string) => {
 *   const picture: Blob | undefined = await jobs.blob(id, 'picture')
 *   if (picture) await writeFile(`${picture.hash}.png`, picture.bytes)
 * }
 * ```
 */
export interface Blob {
  /** Of the PNG. */
  bytes: Buffer
  /** Tells it from others: 16 hexadecimal digits. */
  hash: string
}

/**
 * Numbers of jobs, for `/metrics` and `/readyz`.
 *
 * @example
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const { jobs } = (await createServer()).context
 * const { queued, running, kept, keptBytes } = await jobs.counts()
 * console.log(`${queued} wait, ${running} run, ${kept} are kept in ${keptBytes} bytes`)
 * ```
 */
export interface Counts {
  /** Those that wait. */
  queued: number
  /** Those that are worked on. */
  running: number
  /** Finished ones that are kept. */
  kept: number
  /** Bytes of their results. */
  keptBytes: number
}

/**
 * Where jobs wait, are worked on and are kept: in this process ({@link MemoryJobs}), in Redis, or your own.
 *
 * @example
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const { jobs } = (await createServer()).context
 * const request = { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger' }
 * const { job } = await jobs.submit({ kind: 'mix', model: 'world-128', request, bytes: 1000 })
 * for await (const { event } of jobs.events(job.id, 0, AbortSignal.timeout(60_000))) console.log(event)
 * const picture = await jobs.blob(job.id, 'picture')
 * await jobs.remove(job.id)
 * ```
 */
export interface Jobs {
  /**
   * Puts an order into the queue. One with a key that was used for the same gives the job of that time.
   *
   * @throws Problem 429 if the queue is full, 422 if the key was used for something else, 503 while draining
   */
  submit(order: Order): Promise<Submitted>
  /** 'gone': there was one. */
  get(id: string): Promise<Job | 'gone' | undefined>
  /**
   * Its events after the one of id `after`, as far as they are kept, and those to come; `end` is the last. Ends early when the
   * signal aborts.
   */
  events(id: string, after: number, signal: AbortSignal): AsyncIterable<JobEvent>
  /** Of a finished one nothing happens. Resolves once it has been told; it may still take a moment to end. */
  cancel(id: string): Promise<Job | 'gone' | undefined>
  /** 'picture' of a mix; 'sheet' and 'cell/INDEX' of a sweep. */
  blob(id: string, name: string): Promise<Blob | undefined>
  /** Cancels it if it is not finished, and forgets it. */
  remove(id: string): Promise<void>
  /** How many there are. */
  counts(): Promise<Counts>
  /** Takes no more; resolves when running jobs have ended. */
  drain(): Promise<void>
  /** Ends everything at once. */
  close(): Promise<void>
}

/**
 * What became of an order.
 *
 * @inline
 */
export interface Submitted {
  /** Its job. */
  job: Job
  /** False for one that its key has given again. */
  isNew: boolean
}

/**
 * What a job tells while it is worked on.
 *
 * @example
 * ```ts
 * import type { Report } from 'magicmix-server'
 *
 * const threeSteps = (report: Report, png: Buffer) => {
 *   for (let step = 1; step <= 3; step++) report.event('progress', { stage: 'content', step, steps: 3 })
 *   report.blob('picture', png)
 *   report.result({ seed: 7 })
 * }
 * ```
 */
export interface Report {
  /** Sends an event to those who listen. */
  event(event: Exclude<EventName, 'end'>, data: Record<string, unknown>): void
  /** A PNG; see {@link Jobs.blob}. One of the same name takes its place. */
  blob(name: string, png: Buffer): void
  /** What {@link Job.result} is from now on. */
  result(result: Record<string, unknown>): void
}

/**
 * Works on an order to its end; rejects with the signal's reason when that aborts.
 *
 * @example
 * ```ts
 * import { MemoryJobs, type Work, createServer } from 'magicmix-server'
 *
 * const logged =
 *   (work: Work): Work =>
 *   async (order, report, signal) => {
 *     console.time(order.kind)
 *     await work(order, report, signal)
 *     console.timeEnd(order.kind)
 *   }
 * const server = await createServer({
 *   jobs: (options) => new MemoryJobs({ ...options, work: logged(options.work) }),
 * })
 * ```
 */
export type Work = (order: Order, report: Report, signal: AbortSignal) => Promise<void>

/**
 * What jobs are made of.
 *
 * @example
 * ```ts
 * import { type JobsOptions, MemoryJobs, createServer } from 'magicmix-server'
 *
 * const told = ({ onEnd, ...options }: JobsOptions): JobsOptions => ({
 *   ...options,
 *   onEnd: (job, error) => {
 *     console.log(job.id, job.status)
 *     onEnd(job, error)
 *   },
 * })
 * const server = await createServer({ jobs: (options) => new MemoryJobs(told(options)) })
 * ```
 */
export interface JobsOptions {
  /** Does the work. */
  work: Work
  /** How many wait, and what is kept for how long. */
  limits: Limits
  /** Told of every job that ends, with what a failed one failed for. */
  onEnd: (job: Job, error: unknown) => void
}
