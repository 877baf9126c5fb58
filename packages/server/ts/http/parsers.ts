/** Bodies: JSON, hashed for Idempotency-Key, and multipart. */
import { createHash } from 'node:crypto'

import multipart from '@fastify/multipart'
import type { FastifyInstance } from 'fastify'

import type { Limits } from '../limits.js'
import { serverProblem } from '../problem.js'
import type { HashedRequest } from '../request/body.js'

export function bodyParsers(app: FastifyInstance, { bodyBytes }: Limits): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const bytes = Buffer.from(body)
    // Clients that always say JSON say it of nothing, too.
    if (bytes.length === 0) return done(null, undefined)
    ;(request as HashedRequest).bodyHash = createHash('sha256').update(bytes).digest('hex')
    void parse(request, bytes.toString(), done)
  })
  void app.register(multipart, {
    limits: { fileSize: bodyBytes, fieldSize: bodyBytes, files: 32, fields: 64, parts: 96 },
  })
  app.addHook('onRequest', (request, _reply, done) => {
    const { 'content-encoding': encoding } = request.headers
    // What is unpacked may be any size.
    if (encoding !== undefined && encoding !== 'identity') {
      throw serverProblem('UNSUPPORTED_MEDIA_TYPE', 'Bodies are not taken compressed')
    }
    done()
  })
}
