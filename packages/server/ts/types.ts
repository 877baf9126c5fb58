/** What the server adds to fastify's own types. */
import 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without the token. */
    isOpen?: boolean
  }
}
