/** POST /mcp: the tools, over streamable HTTP and without sessions. */
import type { FastifyInstance, FastifyReply } from 'fastify'

import type { Context } from '../context.js'

export function mcpRoutes(app: FastifyInstance, context: Context): void {
  const schema = { hide: true }
  app.post('/mcp', { schema }, async (request, reply) => {
    // Its package is loaded when it is first asked for.
    const { mcpServer } = await import('../mcp/tools.js')
    const { StreamableHTTPServerTransport } =
      await import('@modelcontextprotocol/sdk/server/streamableHttp.js')
    const server = mcpServer(context)
    const transport = new StreamableHTTPServerTransport()
    reply.hijack()
    reply.raw.setHeader('x-content-type-options', 'nosniff')
    reply.raw.once('close', () => {
      // Whatever still runs for it is cancelled.
      server.close().catch((err: unknown) => request.log.warn({ err }, 'mcp'))
    })
    try {
      await server.connect(transport)
      await transport.handleRequest(request.raw, reply.raw, request.body ?? null)
    } catch (err) {
      request.log.error({ err }, 'mcp')
      if (!reply.raw.headersSent) reply.raw.writeHead(500)
      reply.raw.end()
    }
  })
  // There is nothing to listen to, and no session to end.
  for (const method of ['GET', 'DELETE'] as const) {
    app.route({ method, url: '/mcp', schema, handler: (_, reply) => notAllowed(reply) })
  }
}

function notAllowed(reply: FastifyReply): FastifyReply {
  const error = { code: -32000, message: 'POST is all that is answered here' }
  return reply.code(405).header('allow', 'POST').send({ jsonrpc: '2.0', error, id: null })
}
