/**
 * Jobs: what clients ask for, from the queue to the results. Routes know this interface alone, so that jobs may be in
 * this process or in another's hands.
 */
import type { Limits } from '../limits.js'
import type { JobError } from '../problem.js'

export type JobKind = 'mix' | 'sweep'
export type JobStatus = 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'

/** Those that a job never leaves. */
export const isFinished = (status: JobStatus) => status !== 'queued' && status !== 'running'

/** What a client has asked for, once it was checked. */
export interface Order {
  kind: JobKind
  /** Name of the model. */
  model: string
  /** As `mix` and `sweep` take it, but for LoRAs, which have the server's names: pictures are `Buffer`s or pixels. */
  request: Record<string, unknown>
  /** About the memory that it takes. */
  bytes: number
  /** Of an Idempotency-Key: the key, and what tells this body from another. */
  once?: { key: string; fingerprint: string } | undefined
  /** 0, the first, to 7; those of the same one in the order in which they came. Default 3. */
  priority?: number | undefined
}

export const usualPriority = 3

/** A job as clients see it. */
export interface Job {
  id: string
  kind: JobKind
  model: string
  status: JobStatus
  /** Times in ISO 8601. */
  createdAt: string
  startedAt: string | null
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

export type EventName = 'progress' | 'preview' | 'cell' | 'end'

/** An event of a job; ids rise. */
export interface JobEvent {
  id: number
  event: EventName
  data: Record<string, unknown>
}

/** A picture that a job gave: a PNG. */
export interface Blob {
  bytes: Buffer
  /** Tells it from others: 16 hexadecimal digits. */
  hash: string
}

export interface Counts {
  queued: number
  running: number
  /** Finished ones that are kept, and the bytes of their results. */
  kept: number
  keptBytes: number
}

export interface Jobs {
  /**
   * Puts an order into the queue. One with a key that was used for the same gives the job of that time.
   *
   * @throws Problem 429 if the queue is full, 422 if the key was used for something else, 503 while draining
   */
  submit(order: Order): Promise<{ job: Job; isNew: boolean }>
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
  counts(): Promise<Counts>
  /** Takes no more; resolves when running jobs have ended. */
  drain(): Promise<void>
  /** Ends everything at once. */
  close(): Promise<void>
}

/** What a job tells while it is worked on. */
export interface Report {
  event(event: Exclude<EventName, 'end'>, data: Record<string, unknown>): void
  /** A PNG; see {@link Jobs.blob}. One of the same name takes its place. */
  blob(name: string, png: Buffer): void
  result(result: Record<string, unknown>): void
}

/** Works on an order to its end; rejects with the signal's reason when that aborts. */
export type Work = (order: Order, report: Report, signal: AbortSignal) => Promise<void>

/** What jobs are made of. */
export interface JobsOptions {
  work: Work
  limits: Limits
  /** Told of every job that ends, with what a failed one failed for. */
  onEnd: (job: Job, error: unknown) => void
}
