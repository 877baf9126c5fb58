/** A worker: takes jobs of its models from Redis, and works on them with the models of this process. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'

import { type Job as BullJob, UnrecoverableError, WaitingError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { MagicMixError, type MagicMixErrorCode } from 'magicmix'

import type { JobKind, Work } from '../jobs/jobs.js'
import type { Limits } from '../limits.js'
import type { ModelSet } from '../models/models.js'
import { publicError, serverProblem } from '../problem.js'
import { AskedTokens } from './ask.js'
import { patient } from './connection.js'
import { type WorkerCard, beatOf, show, takeDown } from './crew.js'
import { News } from './news.js'
import { type FilledRedisOptions, type RedisOptions, filledRedis } from './options.js'
import { bullPrefix } from './place.js'
import { lost } from './redis-jobs.js'
import { Reporter } from './reporter.js'
import { Store, laneOf } from './store.js'

export interface RedisWorkerOptions {
  redis: RedisOptions
  work: Work
  models: ModelSet
  limits: Limits
  /** Gives up waiting for Redis while it starts. */
  signal?: AbortSignal | undefined
  /** Told what happens: for a log. */
  onEvent: (event: WorkerEvent) => void
}

export type WorkerEvent =
  | { event: 'began' | 'completed' | 'cancelled' | 'handed on' | 'lost'; job: string }
  | { event: 'failed' | 'to be tried again'; job: string; error: unknown }
  | { event: 'error'; error: unknown }

/** Why work on a job is given up. */
class Stopped extends Error {
  constructor(readonly why: 'cancelled' | 'lost' | 'shutdown') {
    super(why)
  }
}

const kinds: readonly JobKind[] = ['mix', 'sweep']

/** Those that may go away by themselves, or on another machine. */
const passing: ReadonlySet<MagicMixErrorCode> = new Set([
  ...(['OUT_OF_MEMORY', 'OUT_OF_THREADS', 'DEVICE_FAILED'] as const),
  ...(['DISPOSED', 'TIMED_OUT', 'QUEUE_FULL'] as const),
])

export class RedisWorker {
  readonly id = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`
  private readonly startedAt = new Date().toISOString()
  private readonly running = new Map<string, AbortController>()
  private workers: Worker[] = []
  private attempts = 0
  private beat: NodeJS.Timeout | undefined
  private ending: Promise<void> | undefined

  private constructor(
    private readonly options: RedisWorkerOptions,
    private readonly redisOptions: FilledRedisOptions,
    private readonly redis: Redis,
    private readonly listening: Redis,
    private readonly store: Store,
  ) {}

  /** Resolves when it takes jobs, which may be long after: it waits for Redis to be there. */
  static async start(options: RedisWorkerOptions): Promise<RedisWorker> {
    const redisOptions = filledRedis(options.redis)
    const onError = (error: unknown) => options.onEvent({ event: 'error', error })
    const redis = patient(redisOptions, onError)
    const listening = patient(redisOptions, onError)
    const store = new Store(redis, redisOptions, options.limits)
    const worker = new RedisWorker(options, redisOptions, redis, listening, store)
    const giveUp = () => {
      redis.disconnect()
      listening.disconnect()
    }
    options.signal?.addEventListener('abort', giveUp, { once: true })
    await worker.begin()
    options.signal?.removeEventListener('abort', giveUp)
    return worker
  }

  /** Takes no more; resolves when the running jobs have ended. Those that take too long go back to where they wait. */
  drain(): Promise<void> {
    return this.end(this.options.limits.drainSeconds * 1000)
  }

  /** Gives running jobs back at once. */
  close(): Promise<void> {
    for (const stop of this.running.values()) stop.abort(new Stopped('shutdown'))
    return this.end(0)
  }

  private async begin(): Promise<void> {
    const { options, redisOptions, store } = this
    const news = new News(this.listening)
    await news.listen(store.key('cancel'), (id) => this.stop(id, 'cancelled'))
    await new AskedTokens(redisOptions, options.models, this.redis).listen(news, this.id)
    await this.showCard()
    this.beat = setInterval(() => {
      this.showCard().catch((error: unknown) => options.onEvent({ event: 'error', error }))
    }, beatOf(redisOptions))
    this.workers = options.models.names.flatMap((model) =>
      kinds.map((kind) => this.workerFor(laneOf({ kind, model }))),
    )
    await Promise.all(this.workers.map((worker) => worker.waitUntilReady()))
  }

  private workerFor(lane: string): Worker {
    const { lockSeconds, attempts } = this.redisOptions
    const lock = lockSeconds * 1000
    const worker = new Worker(lane, (job, token) => this.process(job, token), {
      connection: this.redis,
      prefix: bullPrefix(this.redisOptions),
      concurrency: 1,
      lockDuration: lock,
      stalledInterval: lock / 2,
      maxStalledCount: attempts - 1,
      drainDelay: Math.min(5, lockSeconds),
    })
    worker.on('error', (error) => this.options.onEvent({ event: 'error', error }))
    worker.on('failed', (job, error) => void this.buried(job, error))
    return worker
  }

  private async process(bullJob: BullJob, token: string | undefined): Promise<void> {
    const { id = '' } = bullJob
    const { onEvent, work } = this.options
    const attempt = `${this.id} ${++this.attempts}`
    const stop = new AbortController()
    this.running.set(id, stop)
    try {
      if ((await this.store.begin(id, attempt, this.id)) !== 'ok') return
      onEvent({ event: 'began', job: id })
      const order = await this.store.order(id)
      if (!order) throw serverProblem('GONE', 'The request has expired')
      const report = new Reporter(this.store, id, attempt, this.redisOptions.blobBytes, (state) =>
        this.stop(id, state),
      )
      await work(order, report, stop.signal)
      await report.done()
      const isOurs = await this.store.finish(id, attempt, { status: 'completed' })
      onEvent({ event: isOurs ? 'completed' : 'lost', job: id })
    } catch (error) {
      await this.failed(bullJob, token, attempt, stop.signal, error)
    } finally {
      this.running.delete(id)
    }
  }

  /** Every way in which work on a job ends before its end. */
  private async failed(
    bullJob: BullJob,
    token: string | undefined,
    attempt: string,
    signal: AbortSignal,
    error: unknown,
  ): Promise<void> {
    const { onEvent } = this.options
    const { id = '', attemptsMade } = bullJob
    const why = signal.reason instanceof Stopped ? signal.reason.why : undefined
    if (why === 'lost') return onEvent({ event: 'lost', job: id })
    if (why === 'cancelled') {
      const isOurs = await this.store.finish(id, attempt, { status: 'cancelled' })
      return onEvent({ event: isOurs ? 'cancelled' : 'lost', job: id })
    }
    if (why === 'shutdown') {
      await this.store.requeue(id, attempt)
      await bullJob.moveToWait(token)
      onEvent({ event: 'handed on', job: id })
      throw new WaitingError()
    }
    const mayPass = error instanceof MagicMixError && passing.has(error.code)
    if (mayPass && attemptsMade + 1 < this.redisOptions.attempts) {
      if ((await this.store.requeue(id, attempt)) === 'ok') {
        onEvent({ event: 'to be tried again', job: id, error })
        throw error
      }
    }
    await this.store.finish(id, attempt, { status: 'failed', error: publicError(error) })
    onEvent({ event: 'failed', job: id, error })
    throw new UnrecoverableError(error instanceof Error ? error.message : String(error))
  }

  /** BullMQ gives a job up whose workers died again and again. */
  private async buried(job: BullJob | undefined, error: Error): Promise<void> {
    try {
      if (job?.id === undefined || (await job.getState()) !== 'failed') return
      const end = { status: 'failed', error: lost(this.redisOptions) } as const
      if (await this.store.finish(job.id, '*', end)) {
        this.options.onEvent({ event: 'failed', job: job.id, error })
      }
    } catch (error) {
      this.options.onEvent({ event: 'error', error })
    }
  }

  private stop(id: string, why: 'cancelled' | 'lost'): void {
    this.running.get(id)?.abort(new Stopped(why))
  }

  private async showCard(): Promise<void> {
    const models = this.options.models.describe()
    const devices = models.flatMap(({ isLoaded, info }) => (isLoaded && info ? [info.device] : []))
    const card: WorkerCard = {
      ...{ id: this.id, host: hostname(), pid: process.pid, startedAt: this.startedAt },
      // Places of files are nobody's business.
      models: models.map(({ info, ...rest }) => ({
        ...rest,
        info: info && { ...info, path: '' },
      })),
      devices: [...new Set(devices)],
      running: [...this.running.keys()],
    }
    await show(this.redis, this.redisOptions, card)
  }

  private end(afterMs: number): Promise<void> {
    this.ending ??= this.endNow(afterMs)
    return this.ending
  }

  private async endNow(afterMs: number): Promise<void> {
    const late = setTimeout(() => {
      for (const stop of this.running.values()) stop.abort(new Stopped('shutdown'))
    }, afterMs)
    await Promise.all(this.workers.map((worker) => worker.close()))
    clearTimeout(late)
    clearInterval(this.beat)
    await takeDown(this.redis, this.redisOptions, this.id)
    this.listening.disconnect()
    this.redis.disconnect()
  }
}
