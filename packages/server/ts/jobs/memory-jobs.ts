/** Jobs in the memory of this process. */
import { createHash, randomBytes } from 'node:crypto'

import type { Limits } from '../limits.js'
import { Problem, draining, publicError, unprocessable } from '../problem.js'
import { EventLog } from './event-log.js'
import {
  type Blob,
  type Counts,
  type Job,
  type JobEvent,
  type Jobs,
  type JobsOptions,
  type Order,
  type Submitted,
  type Work,
  isFinished,
  usualPriority,
} from './jobs.js'

interface Entry {
  job: Job
  /** Until it is finished. */
  order: Order | undefined
  once: Order['once']
  log: EventLog
  blobs: Map<string, Blob>
  stop: AbortController
  /** Resolves when nothing works on it any more. */
  ended: Promise<void>
}

/** Ids of the past that are still known to have been. */
const mostGone = 10_000

/**
 * Of every model one mix and one sweep are worked on at a time: the mixes of a sweep and others take turns in the mixer's own
 * queue, so that a sweep of an hour does not keep anybody waiting for an hour.
 *
 * @example
 * ```ts
 * import { MemoryJobs, createServer } from 'magicmix-server'
 *
 * // As without it, but that nothing is kept for more than a minute.
 * const server = await createServer({
 *   jobs: (options) =>
 *     new MemoryJobs({ ...options, limits: { ...options.limits, keptSeconds: 60 } }),
 * })
 * ```
 */
export class MemoryJobs implements Jobs {
  private readonly entries = new Map<string, Entry>()
  private readonly gone = new Set<string>()
  private readonly byKey = new Map<string, string>()
  /** By model and kind, in the order in which they came. */
  private readonly waiting = new Map<string, Entry[]>()
  private readonly running = new Map<string, Entry>()
  private waitingBytes = 0
  private keptBytes = 0
  private isDraining = false
  private readonly tidying: NodeJS.Timeout
  private readonly work: Work
  private readonly limits: Limits
  private readonly onEnd: JobsOptions['onEnd']

  constructor({ work, limits, onEnd }: JobsOptions) {
    this.work = work
    this.limits = limits
    this.onEnd = onEnd
    this.tidying = setInterval(() => this.tidy(), 5000)
    this.tidying.unref()
  }

  submit(order: Order): Promise<Submitted> {
    return promised(() => {
      this.tidy()
      const known = order.once && this.knownFor(order.once)
      if (known) return { job: this.view(known), isNew: false }
      if (this.isDraining) throw draining()
      this.refuseWhenFull(order)
      const entry = entryOf(order)
      this.entries.set(entry.job.id, entry)
      if (order.once) this.byKey.set(order.once.key, entry.job.id)
      const lane = laneOf(order)
      this.waiting.set(lane, queued(this.waiting.get(lane) ?? [], entry))
      this.waitingBytes += order.bytes
      this.advance(lane)
      return { job: this.view(entry), isNew: true }
    })
  }

  get(id: string): Promise<Job | 'gone' | undefined> {
    return promised(() => {
      this.tidy()
      const entry = this.entries.get(id)
      return entry ? this.view(entry) : this.gone.has(id) ? 'gone' : undefined
    })
  }

  async *events(id: string, after: number, signal: AbortSignal): AsyncIterable<JobEvent> {
    const log = this.entries.get(id)?.log
    if (log) yield* log.after(after, signal)
  }

  cancel(id: string): Promise<Job | 'gone' | undefined> {
    const entry = this.entries.get(id)
    if (entry) this.stop(entry)
    return this.get(id)
  }

  blob(id: string, name: string): Promise<Blob | undefined> {
    return Promise.resolve(this.entries.get(id)?.blobs.get(name))
  }

  async remove(id: string): Promise<void> {
    const entry = this.entries.get(id)
    if (!entry) return
    this.stop(entry)
    await entry.ended
    this.forget(entry)
  }

  counts(): Promise<Counts> {
    const queued = [...this.waiting.values()].reduce((sum, lane) => sum + lane.length, 0)
    const running = this.running.size
    const kept = this.entries.size - queued - running
    return Promise.resolve({ queued, running, kept, keptBytes: this.keptBytes })
  }

  async drain(): Promise<void> {
    this.isDraining = true
    const refused = [...this.waiting.values()].flat()
    this.waiting.clear()
    this.waitingBytes = 0
    for (const entry of refused) {
      entry.job.error = publicError(draining())
      this.finish(entry, 'failed')
    }
    const late = setTimeout(() => {
      for (const entry of this.running.values()) this.stop(entry)
    }, this.limits.drainSeconds * 1000)
    await Promise.all([...this.running.values()].map(({ ended }) => ended))
    clearTimeout(late)
  }

  async close(): Promise<void> {
    const drained = this.drain()
    for (const entry of this.running.values()) this.stop(entry)
    await drained
    clearInterval(this.tidying)
  }

  /** The job of an earlier request with the same key. */
  private knownFor({ key, fingerprint }: { key: string; fingerprint: string }): Entry | undefined {
    const entry = this.entries.get(this.byKey.get(key) ?? '')
    if (entry && entry.once?.fingerprint !== fingerprint) {
      throw unprocessable('This Idempotency-Key was used for another request', {
        name: 'Idempotency-Key',
      })
    }
    return entry
  }

  private refuseWhenFull(order: Order): void {
    const { queue, queueBytes } = this.limits
    const lane = laneOf(order)
    const waiting = [...this.waiting.values()].reduce((sum, each) => sum + each.length, 0)
    const begins = !this.running.has(lane)
    if (begins || (waiting < queue && this.waitingBytes + order.bytes <= queueBytes)) return
    throw new Problem(
      429,
      'QUEUE_FULL',
      `${waiting} jobs wait already; try again later`,
      { waiting },
      { 'retry-after': String(Math.min(60, 1 + waiting)) },
    )
  }

  /** The next one of a lane, if it is free. */
  private advance(lane: string): void {
    const waiting = this.waiting.get(lane) ?? []
    if (!this.running.has(lane)) {
      const next = waiting.shift()
      if (next) this.begin(next, lane)
    }
    if (waiting.length === 0) this.waiting.delete(lane)
    waiting.forEach((entry, i) => {
      entry.log.add('progress', { stage: 'queued', position: i + 1 })
    })
  }

  private begin(entry: Entry, lane: string): void {
    const { job, log, order } = entry
    if (!order) return
    this.waitingBytes -= order.bytes
    this.running.set(lane, entry)
    job.status = 'running'
    job.startedAt = new Date().toISOString()
    const report = {
      event: (name: Exclude<JobEvent['event'], 'end'>, data: Record<string, unknown>) => {
        if (name === 'progress') job.progress = data
        log.add(name, data)
      },
      blob: (name: string, png: Buffer) => this.keep(entry, name, png),
      result: (result: Record<string, unknown>) => {
        job.result = result
      },
    }
    entry.ended = this.work(order, report, entry.stop.signal).then(
      () => this.finish(entry, 'completed', lane),
      (error: unknown) => {
        if (entry.stop.signal.aborted) return this.finish(entry, 'cancelled', lane)
        job.error = publicError(error)
        this.finish(entry, 'failed', lane, error)
      },
    )
  }

  private stop(entry: Entry): void {
    if (isFinished(entry.job.status)) return
    entry.stop.abort(new Error('cancelled'))
    for (const [lane, waiting] of this.waiting) {
      const at = waiting.indexOf(entry)
      if (at < 0) continue
      waiting.splice(at, 1)
      this.waitingBytes -= entry.order?.bytes ?? 0
      this.finish(entry, 'cancelled')
      this.advance(lane)
    }
  }

  private finish(entry: Entry, status: Job['status'], lane?: string, error?: unknown): void {
    const { job, log } = entry
    entry.order = undefined
    job.status = status
    job.finishedAt = new Date().toISOString()
    job.expiresAt = new Date(Date.now() + this.limits.keptSeconds * 1000).toISOString()
    log.add('end', { status, error: job.error })
    // Kept in the order in which they ended.
    if (this.entries.delete(job.id)) this.entries.set(job.id, entry)
    this.onEnd(job, error)
    if (lane === undefined) return
    this.running.delete(lane)
    this.advance(lane)
    this.tidy()
  }

  private keep({ blobs }: Entry, name: string, bytes: Buffer): void {
    this.keptBytes += bytes.length - (blobs.get(name)?.bytes.length ?? 0)
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
    blobs.set(name, { bytes, hash })
  }

  /** Forgets what is too old, or too much: the oldest first. */
  private tidy(): void {
    const now = new Date().toISOString()
    let kept = [...this.entries.values()].filter(({ job }) => isFinished(job.status)).length
    for (const entry of this.entries.values()) {
      if (!isFinished(entry.job.status)) continue
      const { keptJobs, keptBytes } = this.limits
      const isOld = entry.job.expiresAt !== null && entry.job.expiresAt <= now
      if (!isOld && kept <= keptJobs && this.keptBytes <= keptBytes) continue
      this.forget(entry)
      kept--
    }
  }

  private forget(entry: Entry): void {
    const { job, blobs, once } = entry
    if (!this.entries.delete(job.id)) return
    for (const { bytes } of blobs.values()) this.keptBytes -= bytes.length
    if (once && this.byKey.get(once.key) === job.id) this.byKey.delete(once.key)
    this.gone.add(job.id)
    for (const id of this.gone) {
      if (this.gone.size <= mostGone) break
      this.gone.delete(id)
    }
  }

  private view({ job, order }: Entry): Job {
    if (job.status !== 'queued' || !order) return { ...job }
    const lane = laneOf(order)
    const at = (this.waiting.get(lane) ?? []).findIndex((entry) => entry.job === job)
    return { ...job, position: at + 1 }
  }
}

/** Behind all that are as urgent, or more. */
function queued(waiting: readonly Entry[], entry: Entry): Entry[] {
  const rank = ({ order }: Entry) => order?.priority ?? usualPriority
  const at = waiting.findIndex((each) => rank(each) > rank(entry))
  return at < 0 ? [...waiting, entry] : [...waiting.slice(0, at), entry, ...waiting.slice(at)]
}

function laneOf({ model, kind }: Order): string {
  return `${kind} ${model}`
}

function entryOf(order: Order): Entry {
  const { kind, model, once } = order
  const job: Job = {
    id: `${kind}_${randomBytes(16).toString('base64url')}`,
    ...{ kind, model, status: 'queued', createdAt: new Date().toISOString() },
    ...{ startedAt: null, finishedAt: null, expiresAt: null },
    ...{ position: null, progress: null, error: null, result: null },
  }
  const stop = new AbortController()
  const log = new EventLog()
  return { job, order, once, log, blobs: new Map(), stop, ended: Promise.resolve() }
}

function promised<T>(make: () => T): Promise<T> {
  return new Promise((resolve) => resolve(make()))
}
