/** The studio: one page for people, whose files are beside the server's own. */
import path from 'node:path'

import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

const folder = path.join(__dirname, '..', 'studio')

/** The page loads nothing from elsewhere, runs nothing but its own files, and is in nobody's frame. */
const headers = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
}

export function studioRoutes(app: FastifyInstance): void {
  void app.register((scope: FastifyInstance, _options: unknown, done: () => void) => {
    // The page itself is no secret; what it asks for is, and it asks for the token.
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, isOpen: true }
      route.schema = { ...route.schema, hide: true }
    })
    scope.addHook('onSend', async (_request, reply) => {
      void reply.headers(headers)
    })
    void scope.register(fastifyStatic, {
      root: folder,
      prefix: '/studio/',
      wildcard: false,
      index: false,
      // The files of another version have the same names.
      cacheControl: false,
      setHeaders: (response) => void response.setHeader('cache-control', 'no-cache'),
    })
    scope.get('/', (_request, reply) => reply.sendFile('index.html'))
    done()
  })
}
