/** Connections to Redis. */
import { Redis } from 'ioredis'

import type { FilledRedisOptions } from './options.js'

/**
 * One that waits for Redis to come back for as long as it takes, as whoever works in the background does: nothing that was sent gets
 * lost.
 */
export function patient({ url }: FilledRedisOptions, onError: (error: Error) => void): Redis {
  return connected(url, null, onError)
}

/** One for whoever answers a client, who is told soon that it has to come again. */
export function impatient({ url }: FilledRedisOptions, onError: (error: Error) => void): Redis {
  return connected(url, 2, onError)
}

function connected(
  url: string,
  maxRetriesPerRequest: number | null,
  onError: (error: Error) => void,
): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest,
    retryStrategy: (times) => Math.min(50 * 2 ** times, 2000),
  })
  redis.on('error', onError)
  return redis
}

/** Passes on an error only if it is another than the last one, or that was a while ago: an outage is the same one many times. */
export function oncePerOutage<E>(tell: (error: E) => void): (error: E) => void {
  let last = ''
  let at = -Infinity
  return (error) => {
    const text = String(error)
    const now = performance.now()
    if (text !== last || now - at > 30_000) tell(error)
    last = text
    at = now
  }
}
