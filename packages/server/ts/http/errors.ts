/** Errors on their way to clients. */
import type { Socket } from 'node:net'

import type { FastifyReply, FastifyRequest } from 'fastify'

import { Problem, bug, problemOf, serverProblem } from '../problem.js'

const mediaType = 'application/problem+json'

/** For fastify: of its own, before there is a route, and of routes. */
export function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problem = problemOf(error)
  if (!problem) request.log.error({ err: error }, 'a bug')
  else if (problem !== error && problem.status >= 500) request.log.warn({ err: error }, 'failed')
  return sendProblem(reply, problem ?? bug())
}

export function notFoundHandler() {
  return (): never => {
    throw serverProblem('NOT_FOUND', 'There is nothing at this address; see /openapi.json')
  }
}

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(mediaType)
    .send(JSON.stringify(problem))
}

/** For what never becomes a request: it is no HTTP, or takes too long. */
export function problemOnSocket(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const problem = isLate
    ? serverProblem('REQUEST_TIMEOUT', 'The request took too long to arrive')
    : serverProblem('BAD_REQUEST', 'This is no request of HTTP')
  const body = JSON.stringify(problem)
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.toJSON().title}`,
      `content-type: ${mediaType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}
