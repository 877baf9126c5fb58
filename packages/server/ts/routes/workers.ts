/** /v1/workers: who works on jobs, where that is not this server. */
import type { FastifyInstance } from 'fastify'

import type { Context } from '../context.js'
import { json, object, problems } from './schemas.js'

const text = { type: 'string' }
const texts = { type: 'array', items: text }

export function workerRoutes(app: FastifyInstance, { workers }: Context): void {
  app.get(
    '/v1/workers',
    {
      schema: {
        tags: ['about'],
        summary: 'The workers that take jobs from Redis; none where this server mixes itself',
        response: {
          200: json(
            'Workers',
            object({
              workers: {
                type: 'array',
                items: object({
                  ...{ id: text, host: text, pid: { type: 'integer' }, startedAt: text },
                  ...{ models: texts, devices: texts, running: texts },
                }),
              },
            }),
          ),
          ...problems(),
        },
      },
    },
    () => ({
      workers: workers().map(({ models, ...card }) => ({
        ...card,
        models: models.map(({ name }) => name),
      })),
    }),
  )
}
