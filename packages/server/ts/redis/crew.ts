/** Who works: every worker shows a card for as long as it lives. */
import type { Redis } from 'ioredis'

import type { ModelDescription } from '../models/models.js'
import type { FilledRedisOptions } from './options.js'

/** What a worker shows of itself. */
export interface WorkerCard {
  id: string
  host: string
  pid: number
  startedAt: string
  /** Those that it has; what is known of one once it was loaded. */
  models: ModelDescription[]
  /** Ids of the devices in use, of models that are loaded. */
  devices: string[]
  /** Ids of the jobs that it works on. */
  running: string[]
}

/** A model that some worker has, or had. */
export interface KnownModel {
  name: string
  info: ModelDescription['info']
  /** When a worker had it, in milliseconds. */
  lastSeen: number
}

export const crewChannel = (prefix: string) => `${prefix}:crew`

/** Milliseconds between two looks of a worker at its card. */
export const beatOf = ({ lockSeconds }: FilledRedisOptions) =>
  Math.max(100, Math.min(5000, (lockSeconds * 1000) / 3))

/** Shows the card, which lasts as long as a lock. */
export async function show(
  redis: Redis,
  options: FilledRedisOptions,
  card: WorkerCard,
): Promise<void> {
  const { prefix, lockSeconds } = options
  const now = Date.now()
  const all = redis
    .multi()
    .set(`${prefix}:worker:${card.id}`, JSON.stringify(card), 'PX', Math.ceil(lockSeconds * 1000))
    .zadd(`${prefix}:workers`, now, card.id)
  for (const { name, info } of card.models) {
    all.hset(`${prefix}:models`, name, JSON.stringify({ name, info, lastSeen: now }))
  }
  await all.publish(crewChannel(prefix), card.id).exec()
}

export async function takeDown(
  redis: Redis,
  { prefix }: FilledRedisOptions,
  id: string,
): Promise<void> {
  await redis
    .multi()
    .del(`${prefix}:worker:${id}`)
    .zrem(`${prefix}:workers`, id)
    .publish(crewChannel(prefix), id)
    .exec()
}

/** The crew as a server sees it, looked up again every so often and whenever somebody comes or goes. */
export class Crew {
  workers: readonly WorkerCard[] = []
  models: readonly KnownModel[] = []

  constructor(
    private readonly redis: Redis,
    private readonly options: FilledRedisOptions,
  ) {}

  async look(): Promise<void> {
    const { prefix, waitSeconds, lockSeconds } = this.options
    const now = Date.now()
    await this.redis.zremrangebyscore(`${prefix}:workers`, 0, now - 2000 * lockSeconds)
    const ids: string[] = await this.redis.zrange(`${prefix}:workers`, '0', '-1')
    const cards = await Promise.all(ids.map((id) => this.redis.get(`${prefix}:worker:${id}`)))
    this.workers = cards.flatMap((card) => (card === null ? [] : [JSON.parse(card) as WorkerCard]))
    const known = Object.values(await this.redis.hgetall(`${prefix}:models`))
      .map((model) => JSON.parse(model) as KnownModel)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    // As long as a job may wait for a model, it may be asked for.
    const isOld = ({ lastSeen }: KnownModel) => lastSeen < now - 1000 * waitSeconds
    const old = known.filter(isOld).map(({ name }) => name)
    if (old.length > 0) await this.redis.hdel(`${prefix}:models`, ...old)
    this.models = known.filter((model) => !isOld(model))
  }

  /** Workers that have the model. */
  with(model: string): WorkerCard[] {
    return this.workers.filter(({ models }) => models.some(({ name }) => name === model))
  }
}
