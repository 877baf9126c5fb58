/** The token that clients show, where there is one. */
import { createHash, timingSafeEqual } from 'node:crypto'

import type { FastifyRequest } from 'fastify'

import { serverProblem } from '../problem.js'

export class Token {
  private readonly digest: Buffer

  constructor(token: string) {
    this.digest = digestOf(token)
  }

  /**
   * `Bearer TOKEN`, or the password of `Basic`, which is all that some clients can send.
   *
   * @throws Problem 401
   */
  check({ headers }: FastifyRequest): void {
    // Digests have one length, and take as long to compare whatever was sent.
    const sent = digestOf(tokenIn(headers.authorization ?? ''))
    if (timingSafeEqual(sent, this.digest)) return
    throw serverProblem(
      'UNAUTHORIZED',
      'This server wants its token: Authorization: Bearer TOKEN',
      {},
      { 'www-authenticate': 'Bearer realm="magicmix"' },
    )
  }
}

function tokenIn(authorization: string): string {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization) ?? []
  if (scheme.toLowerCase() !== 'basic') return scheme.toLowerCase() === 'bearer' ? value : ''
  const pair = Buffer.from(value, 'base64').toString()
  return pair.slice(pair.indexOf(':') + 1)
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
