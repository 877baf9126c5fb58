/** /health/live and /health/ready, for whoever starts and stops servers. */
import type { FastifyInstance } from 'fastify'

import type { Context } from '../context.js'
import { json, object, problems } from './schemas.js'

export function healthRoutes(app: FastifyInstance, context: Context): void {
  const config = { isOpen: true, rateLimit: false as const }
  const number = { type: 'integer' }
  const security: [] = []
  app.get(
    '/health/live',
    {
      config,
      schema: {
        tags: ['health'],
        security,
        summary: 'Whether the process answers',
        response: { 200: json('It does', object({ status: { const: 'live' } })), ...onlyHost() },
      },
    },
    () => ({ status: 'live' }),
  )
  app.get(
    '/health/ready',
    {
      config,
      schema: {
        tags: ['health'],
        security,
        summary: 'Whether new jobs are taken',
        response: {
          200: json('Yes', readiness('ready')),
          503: json('No: the server is shutting down', readiness('draining')),
          ...onlyHost(),
        },
      },
    },
    async (_, reply) => {
      const { queued, running } = await context.jobs.counts()
      const draining = context.isDraining()
      void reply.code(draining ? 503 : 200)
      return { status: draining ? 'draining' : 'ready', queued, running }
    },
  )

  function readiness(status: string) {
    return object({ status: { const: status }, queued: number, running: number })
  }

  function onlyHost() {
    const { 403: forbidden } = problems()
    return { 403: forbidden }
  }
}
