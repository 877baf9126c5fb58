/** Who may speak to the server: no web page of another origin, and no name that only pretends to be this machine's. */
import { isIP } from 'node:net'
import { hostname } from 'node:os'

import type { FastifyRequest } from 'fastify'

import { Problem, serverProblem } from '../problem.js'

const loopback = ['localhost', '127.0.0.1', '::1']

/**
 * DNS rebinding gives a page's own name the address of this machine, so a name has to be known; an address can be
 * nobody else's name.
 */
export class Hosts {
  private readonly names: ReadonlySet<string>

  /** @param more names that the server is reached by, as a proxy has them */
  constructor(more: readonly string[]) {
    const own = [...loopback, hostname(), ...more]
    this.names = new Set(own.map((name) => name.toLowerCase()))
  }

  /** @throws Problem 403 */
  check({ headers, method }: FastifyRequest): void {
    const { host, origin } = headers
    const address = parsed(`http://${host ?? ''}`)
    if (!address || !this.isKnown(address)) {
      throw forbidden(`This server does not answer as '${shortened(host)}'; see the option hosts`)
    }
    // A page that is opened from elsewhere, by a link, has no origin, and changes nothing.
    const { 'sec-fetch-site': site, 'sec-fetch-mode': mode } = headers
    const fromElsewhere = site === 'cross-site' || site === 'same-site'
    if (fromElsewhere && !(mode === 'navigate' && method === 'GET')) {
      throw forbidden('Pages of other origins are not answered')
    }
    if (origin === undefined) return
    const from = parsed(origin)
    // A proxy may speak https for us, so that the schemes differ.
    if (from?.host !== address.host) {
      throw forbidden(`Pages of the origin '${shortened(origin)}' are not answered`)
    }
  }

  private isKnown({ hostname: name }: URL): boolean {
    const bare = name.replace(/^\[|\]$/g, '')
    return isIP(bare) !== 0 || this.names.has(bare)
  }
}

function parsed(address: string): URL | undefined {
  return URL.canParse(address) ? new URL(address) : undefined
}

function shortened(value: string | undefined): string {
  return (value ?? '').slice(0, 100)
}

function forbidden(message: string): Problem {
  return serverProblem('FORBIDDEN_ORIGIN', message)
}
