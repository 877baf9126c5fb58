/** /openapi.json, from the schemas of the routes. */
import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

import { versions } from '../version.js'

/** @param outage the answer of every route of jobs while their queue does not answer, where that can be */
export async function openApi(
  app: FastifyInstance,
  { hasToken, outage }: { hasToken: boolean; outage: object | undefined },
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
    transform: ({ schema, url }) =>
      outage && /^\/v1\/(mixes|sweeps)/.test(url)
        ? { schema: { ...schema, response: { ...Object(schema.response), 503: outage } }, url }
        : { schema, url },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, i) =>
        typeof json.$id === 'string' ? json.$id : `schema-${i}`,
    },
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
