/** Jobs in Redis, worked on by workers elsewhere. */
import { createHash, randomBytes } from 'node:crypto'

import {
  type Blob,
  type Counts,
  type Job,
  type JobEvent,
  type Jobs,
  type JobsOptions,
  type Order,
  type Submitted,
  isFinished,
} from '../jobs/jobs.js'
import { Problem, draining, serverProblem, unprocessable } from '../problem.js'
import { answered, isOutage } from './outage.js'
import type { RedisPlace } from './place.js'
import { laneOf } from './store.js'

/** How long somebody who deletes a running job waits for its worker. */
const patienceMs = 5000

export class RedisJobs implements Jobs {
  private isDraining = false
  /** Those that came through this server, which tells of their end. */
  private readonly own = new Set<string>()
  private readonly onEnd: JobsOptions['onEnd']
  private readonly tidying: NodeJS.Timeout
  private tidied: Promise<void> = Promise.resolve()

  constructor(
    private readonly place: RedisPlace,
    { onEnd }: Pick<JobsOptions, 'onEnd'>,
  ) {
    this.onEnd = onEnd
    const { news, store, options, onError } = place
    news.listen(store.key('ended'), (id) => this.ended(id)).catch(onError)
    news.onReturn(() => {
      for (const id of this.own) this.ended(id)
    })
    const tidy = () => {
      this.tidied = this.tidy().catch(onError)
    }
    this.tidying = setInterval(tidy, Math.min(5000, options.lockSeconds * 1000))
    this.tidying.unref()
  }

  submit(order: Order): Promise<Submitted> {
    return answered(async () => {
      if (this.isDraining) throw draining()
      const { store, crew } = this.place
      const fresh = `${order.kind}_${randomBytes(16).toString('base64url')}`
      const submitted = await store.submit(fresh, hashed(order), crew.with(order.model).length)
      if (submitted.outcome === 'other') {
        throw unprocessable('This Idempotency-Key was used for another request', {
          name: 'Idempotency-Key',
        })
      }
      if (submitted.outcome === 'full') throw full(submitted.waiting)
      const { id, outcome } = submitted
      const isNew = outcome === 'new'
      if (isNew) {
        this.own.add(id)
        await this.place.enqueue(id, laneOf(order))
      }
      const job = await store.get(id)
      if (job === undefined || job === 'gone') throw serverProblem('GONE', 'It was deleted')
      return { job, isNew }
    })
  }

  get(id: string): Promise<Job | 'gone' | undefined> {
    return answered(() => this.place.store.get(id))
  }

  async *events(id: string, after: number, signal: AbortSignal): AsyncIterable<JobEvent> {
    const { store, news } = this.place
    const bell = new Bell()
    const silences = [
      await answered(() => news.listen(store.key('news', id), () => bell.ring())),
      news.onReturn(() => bell.ring()),
    ]
    try {
      const latest = await answered(() => store.latestEvent(id))
      if (latest === undefined) return
      // An id that this job never had: all over again.
      let seen = after > latest ? 0 : after
      while (!signal.aborted) {
        const rung = bell.count
        const found = await this.eventsAfter(id, seen)
        for (const event of found ?? []) {
          if (signal.aborted) return
          seen = event.id
          yield event
          if (event.event === 'end') return
        }
        if (found?.length === 0 && (await this.hasNoMore(id, seen))) return
        if (!found?.length) await bell.after(rung, signal)
      }
    } finally {
      for (const silence of silences) silence()
    }
  }

  async cancel(id: string): Promise<Job | 'gone' | undefined> {
    return answered(async () => {
      if ((await this.place.store.cancel(id)) === 'cancelled') await this.dequeue(id)
      return this.place.store.get(id)
    })
  }

  blob(id: string, name: string): Promise<Blob | undefined> {
    return answered(async () => {
      const bytes = await this.place.store.picture(id, name)
      if (!bytes) return undefined
      return { bytes, hash: createHash('sha256').update(bytes).digest('hex').slice(0, 16) }
    })
  }

  remove(id: string): Promise<void> {
    return answered(async () => {
      const outcome = await this.place.store.cancel(id)
      if (outcome === 'told') {
        for await (const { event } of this.events(id, 0, AbortSignal.timeout(patienceMs))) {
          if (event === 'end') break
        }
      }
      if (outcome === 'cancelled') await this.dequeue(id)
      // A worker that did not hear of it in time finds that there is nothing left to work on.
      await this.place.store.forget(id)
    })
  }

  counts(): Promise<Counts> {
    return answered(() => this.place.store.counts())
  }

  /** What waits and what runs goes on without this server. */
  drain(): Promise<void> {
    this.isDraining = true
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.isDraining = true
    clearInterval(this.tidying)
    await this.tidied
    await this.place.close()
  }

  /** Undefined while Redis does not answer: the stream stays open. */
  private async eventsAfter(id: string, seen: number): Promise<JobEvent[] | undefined> {
    try {
      return await this.place.store.events(id, seen)
    } catch (error) {
      if (!isOutage(error)) throw error
      return undefined
    }
  }

  private async hasNoMore(id: string, seen: number): Promise<boolean> {
    const { store } = this.place
    const job = await answered(() => store.get(id)).catch(() => null)
    if (job === null) return false // Redis does not answer
    if (job === undefined || job === 'gone') return true
    return isFinished(job.status) && ((await store.latestEvent(id)) ?? 0) <= seen
  }

  private async dequeue(id: string): Promise<void> {
    const job = await this.place.store.get(id)
    if (job === undefined || job === 'gone') return
    await this.place.queue(laneOf(job)).remove(id)
  }

  private ended(id: string): void {
    if (!this.own.has(id)) return
    this.place.store.get(id).then((job) => {
      if (job === undefined || job === 'gone') this.own.delete(id)
      else if (isFinished(job.status) && this.own.delete(id)) {
        this.onEnd(job, job.error ? new Error(job.error.message) : undefined)
      }
    }, this.place.onError)
  }

  /**
   * Forgets what is old, and looks after jobs that nobody has told anything of for a while: one that is in no queue, because a
   * server died between its two steps or Redis has lost the last second, is put into it again.
   */
  private async tidy(): Promise<void> {
    const { store, options } = this.place
    await store.tidy()
    for (const { id, lane } of await store.silent(2000 * options.lockSeconds + 1000)) {
      const state = await this.place.queue(lane).getJobState(id)
      if (state === 'failed')
        await store.finish(id, '*', { status: 'failed', error: lost(options) })
      else if (state === 'unknown' || state === 'completed') await this.place.enqueue(id, lane)
      await store.heardOf(id)
    }
  }
}

/** Why a job failed that nobody could end. */
export const lost = ({ attempts }: { attempts: number }) => ({
  code: 'WORKER_LOST' as const,
  message: `Its workers ended in the middle of it, ${attempts} times`,
})

/** Keys are the client's own text, of any length. */
function hashed(order: Order): Order {
  if (!order.once) return order
  const key = createHash('sha256').update(order.once.key).digest('hex')
  return { ...order, once: { ...order.once, key } }
}

function full(waiting: number): Problem {
  return new Problem(
    429,
    'QUEUE_FULL',
    `${waiting} jobs wait already; try again later`,
    { waiting },
    { 'retry-after': String(Math.min(60, 1 + waiting)) },
  )
}

/** Somebody waits for it to ring; it may have rung in the meantime. */
class Bell {
  count = 0
  private readonly waiting = new Set<() => void>()

  ring(): void {
    this.count++
    for (const wake of this.waiting) wake()
    this.waiting.clear()
  }

  /** Resolves when it has rung more often than `count` times, at the latest after a while. */
  after(count: number, signal: AbortSignal): Promise<void> {
    if (this.count > count || signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(late)
        signal.removeEventListener('abort', wake)
        this.waiting.delete(wake)
        resolve()
      }
      // Should ever a message get lost.
      const late = setTimeout(wake, 5000)
      late.unref()
      this.waiting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }
}
