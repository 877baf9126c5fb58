/** /openapi.json, from the schemas of the routes. */
import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

import { versions } from '../version.js'

/** Of a route, for one status. */
interface Answer {
  description: string
  content: Record<string, object>
}

const asksQueue = /^\/(v1\/(mixes|sweeps)|health\/ready|metrics)/

/** @param outage the answer of every route that asks the queue while that does not answer, where that can be */
export async function openApi(
  app: FastifyInstance,
  { hasToken, outage }: { hasToken: boolean; outage: Answer | undefined },
): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'magicmix',
        version: versions.server,
        description: 'Mixes two meanings into one picture: jobs, their events, and their pictures.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      tags: [
        { name: 'mixes', description: 'One picture each' },
        { name: 'sweeps', description: 'Many pictures, with other values of some options' },
        { name: 'about', description: 'Models, devices, limits, tokens' },
        { name: 'health', description: 'For whoever looks after the server' },
      ],
      ...(hasToken
        ? {
            components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
            security: [{ token: [] }],
          }
        : {}),
    },
    transform({ schema, url }) {
      if (!outage || !asksQueue.test(url)) return { schema, url }
      const answers = Object(schema.response) as Record<number, Answer>
      const content = { ...answers[503]?.content, ...outage.content }
      return { schema: { ...schema, response: { ...answers, 503: { ...outage, content } } }, url }
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, i) =>
        typeof json.$id === 'string' ? json.$id : `schema-${i}`,
    },
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
