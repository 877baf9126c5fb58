/** Bodies that are on their way: what they may take of memory together. */
import type { FastifyInstance, FastifyRequest } from 'fastify'

import type { Limits } from '../limits.js'
import { serverProblem } from '../problem.js'

export function limitIncoming(app: FastifyInstance, { bodyBytes, queueBytes }: Limits): void {
  const underway = new Map<FastifyRequest, number>()
  let bytes = 0
  const end = (request: FastifyRequest) => {
    bytes -= underway.get(request) ?? 0
    underway.delete(request)
  }

  app.addHook('onRequest', (request, _reply, done) => {
    const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
    if (Number(length) > bodyBytes) {
      throw serverProblem('TOO_LARGE', `At most ${bodyBytes} bytes are taken`)
    }
    // Who does not say how many they are may send as many as are taken.
    const own = encoding === undefined ? Number(length ?? 0) : bodyBytes
    if (bytes > 0 && bytes + own > Math.max(queueBytes, bodyBytes)) {
      const message = 'Too much is being sent at the same time'
      throw serverProblem('RATE_LIMITED', message)
    }
    underway.set(request, own)
    bytes += own
    done()
  })
  app.addHook('onResponse', (request, _reply, done) => {
    end(request)
    done()
  })
  app.addHook('onRequestAbort', (request, done) => {
    end(request)
    done()
  })
}
