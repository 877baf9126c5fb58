/** How many requests a client may send. */
import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'

import { notFoundHandler } from './errors.js'
import type { Limits } from '../limits.js'
import { serverProblem } from '../problem.js'

export async function rateLimits(app: FastifyInstance, { ratePerMinute }: Limits): Promise<void> {
  await app.register(rateLimit, {
    max: ratePerMinute,
    timeWindow: 60_000,
    errorResponseBuilder: (_request, { ttl }) =>
      serverProblem(
        'RATE_LIMITED',
        `At most ${ratePerMinute} requests per minute are answered`,
        {},
        { 'retry-after': String(Math.ceil(ttl / 1000)) },
      ),
  })
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, notFoundHandler())
}
