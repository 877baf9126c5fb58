/** A server, put together. */
import { setMaxListeners } from 'node:events'

import fastify, { type FastifyInstance } from 'fastify'
import { MagicMixError } from 'magicmix'

import { backendOf } from './backend.js'
import type { Context } from './context.js'
import { Hosts } from './guards/hosts.js'
import { rateLimits } from './http/rate.js'
import { Token } from './guards/token.js'
import { answerError, problemOnSocket } from './http/errors.js'
import { limitIncoming } from './http/incoming.js'
import { bodyParsers } from './http/parsers.js'
import { openApi } from './http/open-api.js'
import { limitsFrom } from './limits.js'
import type { ServerOptions } from './options.js'
import { checkOrder } from './request/check.js'
import { Guard } from './request/guard.js'
import { requestSchemas } from './request/schemas.js'
import { Turns } from './request/turns.js'
import { routeGroups } from './routes/all.js'
import { EventStreams } from './routes/events.js'
import { Metrics, metricsRoutes } from './routes/metrics.js'
import { jobSchema, problemSchema, problems } from './routes/schemas.js'

/** How long connections have at the end. */
const closeMs = 2000

/**
 * A server that was made by {@link createServer}.
 *
 * @example
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const { app } = await createServer()
 * const answer = await app.inject('/v1/models') // without a port, as in tests
 * console.log(answer.statusCode, answer.json())
 * ```
 */
export interface MagicMixServer {
  /** The instance of fastify, for its `inject`. */
  readonly app: FastifyInstance
  /** What its routes know: for tools that put jobs into it in another way. */
  readonly context: Context
  /**
   * Begins to answer; resolves to its address. Default 127.0.0.1 and any free port.
   *
   * @throws MagicMixError INVALID_ARGUMENT for another address than this machine's own, if there is no token
   * @example
   * ```ts
   * import { createServer } from 'magicmix-server'
   *
   * const server = await createServer()
   * console.log(await server.listen()) // http://127.0.0.1:PORT
   * ```
   */
  listen(at?: { host?: string | undefined; port?: number | undefined }): Promise<string>
  /**
   * Takes no more jobs, and closes when those that run have ended: for SIGTERM.
   *
   * @example
   * ```ts
   * import { createServer } from 'magicmix-server'
   *
   * const server = await createServer()
   * process.once('SIGTERM', () => void server.drain())
   * ```
   */
  drain(): Promise<void>
  /**
   * Ends everything at once.
   *
   * @example
   * ```ts
   * import { createServer } from 'magicmix-server'
   *
   * const server = await createServer()
   * await server.close()
   * ```
   */
  close(): Promise<void>
}

/**
 * A server for one mixer, or for models by name.
 *
 * @example
 * ```ts
 * import { MagicMix } from 'magicmix'
 * import { createServer } from 'magicmix-server'
 *
 * const server = await createServer({ mixer: await MagicMix.load() })
 * console.log(await server.listen({ port: 8080 }))
 * ```
 */
export async function createServer(options: ServerOptions = {}): Promise<MagicMixServer> {
  const limits = limitsFrom(options.limits)
  const { app, log } = makeApp(options, limits)
  const metrics = new Metrics(options.processMetrics ?? false)
  const { models, workers, makeJobs } = await backendOf(options, limits, log, metrics)
  const loras = options.loras ?? {}
  const schemas = requestSchemas(options.redis ? undefined : models.names, Object.keys(loras))
  const guard = new Guard(schemas, limits)
  const jobs = makeJobs({
    limits,
    onEnd: (job, error) => {
      metrics.end(job)
      const { id, status, model } = job
      if (status === 'failed')
        log.warn({ job: id, model, err: error, why: job.error }, 'job failed')
      else log.info({ job: id, model, status }, 'job ended')
    },
  })
  const closing = new AbortController()
  setMaxListeners(0, closing.signal) // every event stream has one
  let isDraining = false
  const turns = new Turns()
  const context: Context = {
    ...{ jobs, models, workers, limits, schemas, guard, loras: Object.keys(loras) },
    check: (order) => turns.take(() => checkOrder(order, { models, loras, guard })),
    heartbeat: options.heartbeat ?? 15_000,
    closing: closing.signal,
    isDraining: () => isDraining,
  }

  const hosts = new Hosts(options.hosts ?? [])
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-content-type-options', 'nosniff')
    hosts.check(request)
    done()
  })
  const token = options.token === undefined ? undefined : new Token(options.token)
  if (token) {
    // After the rate limit, which counts guesses, and before anything of the body is read.
    app.addHook('preParsing', (request, _reply, _payload, done) => {
      if (!request.routeOptions.config?.isOpen) token.check(request)
      done()
    })
  }
  app.setErrorHandler(answerError)
  bodyParsers(app, limits)
  limitIncoming(app, limits)
  await rateLimits(app, limits)
  await openApi(app, {
    hasToken: options.token !== undefined,
    outage: options.redis && problems(503)[503],
  })
  app.addSchema(problemSchema)
  app.addSchema(jobSchema)

  const streams = new EventStreams(context)
  metrics.watch(context, streams)
  await app.register((routes) => {
    metricsRoutes(routes, metrics)
    for (const group of routeGroups) group(routes, context, streams)
  })
  app.addHook('preClose', (done) => {
    closing.abort()
    // What is being answered may be answered; who sends for ever does not keep it open.
    setTimeout(() => app.server.closeAllConnections(), closeMs).unref()
    done()
  })
  app.addHook('onClose', async () => {
    await jobs.close()
    await models.dispose()
  })
  await app.ready()

  return {
    app,
    context,
    listen: async ({ host = '127.0.0.1', port = 0 } = {}) => {
      if (token === undefined) refuseStrangers(host)
      return app.listen({ host, port })
    },
    drain: async () => {
      isDraining = true
      await jobs.drain()
      await app.close()
    },
    close: () => app.close(),
  }
}

function makeApp(options: ServerOptions, limits: Context['limits']) {
  const level = options.log ?? 'silent'
  const app: FastifyInstance = fastify({
    logger: level === 'silent' ? false : { level, stream: process.stderr },
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestSeconds * 1000,
    http: {
      headersTimeout: Math.min(20_000, limits.requestSeconds * 1000),
      // Node looks at the two only so often.
      connectionsCheckingInterval: Math.min(5000, limits.requestSeconds * 500),
    },
    // What comes before the nearest one anybody can say.
    trustProxy: options.behindProxy ? (_address, hop) => hop === 0 : false,
    clientErrorHandler: problemOnSocket,
    frameworkErrors: (error, request, reply) => {
      answerError(error, request, reply)
    },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
  })
  // Bodies are checked by what `mix` itself checks, whose messages are better; schemas are for /openapi.json.
  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  return { app, log: app.log }
}

function refuseStrangers(host: string): void {
  if (['127.0.0.1', '::1', 'localhost'].includes(host)) return
  throw new MagicMixError(
    'INVALID_ARGUMENT',
    `Expected a token beside the host ${host}: without one, only this machine is answered (127.0.0.1)`,
    { name: 'token', expected: 'a token', received: undefined },
  )
}
