/** Redis as a server uses it: connections, the crew, and a queue of BullMQ for every lane. */
import { randomUUID } from 'node:crypto'

import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { MagicMixError } from 'magicmix'

import type { Limits } from '../limits.js'
import { impatient, patient } from './connection.js'
import { Crew, beatOf, crewChannel } from './crew.js'
import { News } from './news.js'
import { type FilledRedisOptions, type RedisOptions, filledRedis } from './options.js'
import { Store } from './store.js'

export type OnError = (error: Error) => void

/** Where BullMQ has its keys. */
export const bullPrefix = ({ prefix }: FilledRedisOptions) => `${prefix}:bull`

export class RedisPlace {
  /** Of this server. */
  readonly id = randomUUID()
  readonly store: Store
  readonly news: News
  readonly crew: Crew
  private readonly queues = new Map<string, Queue>()
  private looking: NodeJS.Timeout | undefined
  private isClosed = false

  private constructor(
    readonly options: FilledRedisOptions,
    readonly redis: Redis,
    private readonly listening: Redis,
    limits: Limits,
    readonly onError: OnError,
  ) {
    this.store = new Store(redis, options, limits)
    this.news = new News(listening)
    this.crew = new Crew(redis, options)
  }

  /** @throws MagicMixError INVALID_ARGUMENT if the options are wrong, or Redis does not answer */
  static async open(given: RedisOptions, limits: Limits, onError: OnError): Promise<RedisPlace> {
    const options = filledRedis(given)
    let why = 'it does not answer'
    const redis = impatient(options, (error) => {
      why = error.message
      onError(error)
    })
    try {
      await redis.ping()
    } catch {
      redis.disconnect()
      const { host } = new URL(options.url)
      throw new MagicMixError('INVALID_ARGUMENT', `Redis at ${host} cannot be used: ${why}`, {
        name: 'redis',
      })
    }
    const place = new RedisPlace(options, redis, patient(options, onError), limits, onError)
    await place.watchCrew()
    return place
  }

  queue(lane: string): Queue {
    const queue = this.queues.get(lane) ?? this.open(lane)
    this.queues.set(lane, queue)
    return queue
  }

  /** Puts a job into its queue; one that is there already stays as it is. */
  async enqueue(id: string, lane: string): Promise<void> {
    const rank = await this.store.priority(id)
    // BullMQ begins at 1, the first.
    await this.queue(lane).add('job', {}, { jobId: id, priority: rank + 1 })
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    clearInterval(this.looking)
    await Promise.allSettled([...this.queues.values()].map((queue) => queue.close()))
    this.listening.disconnect()
    this.redis.disconnect()
  }

  private open(lane: string): Queue {
    const { attempts } = this.options
    const queue = new Queue(lane, {
      connection: this.redis,
      prefix: bullPrefix(this.options),
      defaultJobOptions: {
        attempts,
        backoff: { type: 'exponential', delay: 1000 },
        removeOnComplete: true,
        // Ours is the record; this is for whoever looks at the queue itself.
        removeOnFail: { age: 24 * 3600, count: 1000 },
      },
    })
    queue.on('error', this.onError)
    return queue
  }

  private async watchCrew(): Promise<void> {
    const look = () => this.crew.look().catch(this.onError)
    await this.news.listen(crewChannel(this.options.prefix), () => void look())
    this.news.onReturn(() => void look())
    await look()
    this.looking = setInterval(() => void look(), beatOf(this.options))
    this.looking.unref()
  }
}
