/** The jobs in Redis, as TypeScript sees them. */
import type { Redis } from 'ioredis'

import {
  type Job,
  type JobEvent,
  type JobKind,
  type JobStatus,
  type Order,
  usualPriority,
} from '../jobs/jobs.js'
import type { Limits } from '../limits.js'
import type { JobError } from '../problem.js'
import { type ScriptName, runScript } from './scripts.js'
import type { FilledRedisOptions } from './options.js'
import { packOrder, unpackOrder } from './orders.js'

/** Whether an attempt still is the one that works on the job; 'cancelled': it should end. */
export type Standing = 'ok' | 'cancelled' | 'lost'

/** How a job ends. */
export interface End {
  status: Exclude<JobStatus, 'queued' | 'running'>
  error?: JobError
}

export type Submitted =
  | { outcome: 'new' | 'known'; id: string }
  | { outcome: 'other' }
  | { outcome: 'full'; waiting: number }

/** Mixes and sweeps of a model wait in lanes of their own, as in memory. */
export const laneOf = ({ kind, model }: { kind: JobKind; model: string }) =>
  `${kind}-${encodeURIComponent(model)}`

export class Store {
  readonly prefix: string

  constructor(
    readonly redis: Redis,
    private readonly options: FilledRedisOptions,
    private readonly limits: Limits,
  ) {
    this.prefix = options.prefix
  }

  key(...parts: string[]): string {
    return [this.prefix, ...parts].join(':')
  }

  /** @param places how many may be worked on at once, so that one begins without waiting */
  async submit(id: string, order: Order, places: number): Promise<Submitted> {
    const { kind, model, bytes, once, priority = usualPriority } = order
    const fields = { id, kind, model, status: 'queued', createdAt: new Date().toISOString() }
    const answer = await this.run('submit', [
      ...[id, laneOf(order), priority, bytes, once?.key ?? '', once?.fingerprint ?? ''],
      ...[this.limits.queue, this.limits.queueBytes, places, Date.now(), this.waitMs],
      JSON.stringify(fields),
      ...packOrder(order).flat(),
    ])
    const [outcome, value] = answer as [Submitted['outcome'], string | number]
    if (outcome === 'other') return { outcome }
    if (outcome === 'full') return { outcome, waiting: Number(value) }
    return { outcome, id: String(value) }
  }

  /** An attempt at a job begins; with 'ok' it is the only one. */
  async begin(
    id: string,
    attempt: string,
    worker: string,
  ): Promise<'ok' | 'gone' | 'finished' | 'cancelled'> {
    const now = new Date()
    return (await this.run('begin', [
      ...[id, attempt, worker, now.toISOString(), now.getTime(), this.waitMs],
      ...this.ended({ status: 'cancelled' }),
    ])) as never
  }

  async order(id: string): Promise<Order | undefined> {
    return unpackOrder(await this.redis.hgetallBuffer(this.key('input', id)))
  }

  event(id: string, attempt: string, event: string, json: string): Promise<Standing> {
    return this.report(id, attempt, ['event', event, json])
  }

  blob(id: string, attempt: string, name: string, bytes: Buffer): Promise<Standing> {
    return this.report(id, attempt, ['blob', name, bytes])
  }

  result(id: string, attempt: string, json: string): Promise<Standing> {
    return this.report(id, attempt, ['result', '', json])
  }

  /** False if it has ended before, or is another's by now. `attempt` '*': whoever works on it. */
  async finish(id: string, attempt: string, end: End): Promise<boolean> {
    return (await this.run('finish', [id, attempt, ...this.ended(end)])) === 'ok'
  }

  async requeue(id: string, attempt: string): Promise<Standing> {
    return (await this.run('requeue', [id, attempt, Date.now()])) as Standing
  }

  async cancel(id: string): Promise<'gone' | 'finished' | 'told' | 'cancelled'> {
    return (await this.run('cancel', [id, ...this.ended({ status: 'cancelled' })])) as never
  }

  async forget(id: string): Promise<void> {
    await this.run('forget', [id])
  }

  async tidy(): Promise<void> {
    await this.run('tidy', [Date.now(), this.limits.keptJobs, this.limits.keptBytes])
  }

  async counts() {
    const [queued = 0, running = 0, kept = 0, keptBytes = 0] = (await this.run(
      'counts',
      [],
    )) as number[]
    return { queued, running, kept, keptBytes }
  }

  async get(id: string): Promise<Job | 'gone' | undefined> {
    const fields = await this.redis.hgetall(this.key('job', id))
    const isOver = fields.expiresAt !== undefined && Date.parse(fields.expiresAt) <= Date.now()
    if (fields.status === undefined || isOver) {
      return (await this.redis.exists(this.key('known', id))) === 1 ? 'gone' : undefined
    }
    const job = jobFrom(fields)
    if (job.status === 'queued') {
      const place = await this.redis.zrank(this.key('waiting', laneOf(job)), id)
      if (place !== null) job.position = place + 1
    }
    return job
  }

  async picture(id: string, name: string): Promise<Buffer | undefined> {
    return (await this.redis.hgetBuffer(this.key('blobs', id), name)) ?? undefined
  }

  /** Id of the latest event; undefined if there is no such job. */
  async latestEvent(id: string): Promise<number | undefined> {
    const seq = await this.redis.hget(this.key('job', id), 'seq')
    return seq === null ? undefined : Number(seq)
  }

  /** The first ones after `after`. */
  async events(id: string, after: number): Promise<JobEvent[]> {
    const entries = await this.redis.xrange(this.key('events', id), `(${after}-0`, '+', 'COUNT', 20)
    return entries.map(([entry, [, event, , data]]) => ({
      id: Number.parseInt(entry, 10),
      event: event as JobEvent['event'],
      data: JSON.parse(data ?? '{}') as JobEvent['data'],
    }))
  }

  /** Jobs that are not finished, and were not heard of for a while, with their lanes. */
  async silent(ms: number): Promise<{ id: string; lane: string; status: string }[]> {
    const ids = await this.redis.zrangebyscore(this.key('open'), 0, Date.now() - ms)
    const found = ids.map(async (id) => {
      const [lane, status] = await this.redis.hmget(this.key('job', id), 'lane', 'status')
      if (lane != null && status != null) return [{ id, lane, status }]
      await this.forget(id)
      return []
    })
    return (await Promise.all(found)).flat()
  }

  /** It was looked after. */
  async heardOf(id: string): Promise<void> {
    await this.redis.zadd(this.key('open'), 'XX', Date.now(), id)
  }

  async priority(id: string): Promise<number> {
    return Number((await this.redis.hget(this.key('job', id), 'rank')) ?? usualPriority)
  }

  private async report(
    id: string,
    attempt: string,
    what: readonly (string | Buffer)[],
  ): Promise<Standing> {
    return (await this.run('report', [id, attempt, Date.now(), this.waitMs, ...what])) as Standing
  }

  private ended({ status, error }: End): (string | number)[] {
    const now = Date.now()
    const expires = now + this.limits.keptSeconds * 1000
    const text = error === undefined ? '' : JSON.stringify(error)
    const times = [now, expires].map((ms) => new Date(ms).toISOString())
    const { keptJobs, keptBytes } = this.limits
    return [status, text, ...times, now, expires, keptJobs, keptBytes]
  }

  private get waitMs(): number {
    return Math.ceil(this.options.waitSeconds * 1000)
  }

  private run(name: ScriptName, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return runScript(this.redis, this.prefix, name, args)
  }
}

function jobFrom(fields: Record<string, string>): Job {
  const { id = '', kind, model = '', status, createdAt = '' } = fields
  const text = (name: string) => fields[name] || null
  const json = (name: string) =>
    JSON.parse(fields[name] || 'null') as Record<string, unknown> | null
  return {
    ...{ id, kind: kind as JobKind, model, status: status as JobStatus, createdAt },
    startedAt: text('startedAt'),
    finishedAt: text('finishedAt'),
    expiresAt: text('expiresAt'),
    position: null,
    progress: json('progress'),
    error: json('error') as Job['error'],
    result: json('result'),
  }
}
