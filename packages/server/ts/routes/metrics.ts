/** /metrics, for Prometheus. */
import type { FastifyInstance } from 'fastify'
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

import type { Context } from '../context.js'
import type { Job } from '../jobs/jobs.js'
import type { EventStreams } from './events.js'
import { problems } from './schemas.js'

export class Metrics {
  readonly registry = new Registry()
  private readonly requests = new Histogram({
    name: 'magicmix_http_request_seconds',
    help: 'How long requests took, event streams left out',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers: [this.registry],
  })
  private readonly finished = new Counter({
    name: 'magicmix_jobs_finished_total',
    help: 'Jobs that ended, by how they did',
    labelNames: ['kind', 'status', 'model'] as const,
    registers: [this.registry],
  })
  private readonly durations = new Histogram({
    name: 'magicmix_job_seconds',
    help: 'From the beginning of work to its end, of completed jobs',
    labelNames: ['kind', 'model'] as const,
    buckets: [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 1800],
    registers: [this.registry],
  })
  private readonly loads = new Counter({
    name: 'magicmix_model_loads_total',
    help: 'How often a model was loaded',
    labelNames: ['model'] as const,
    registers: [this.registry],
  })

  /** @param ofProcess memory and event loop of the whole process: for a server that has it for itself */
  constructor(ofProcess: boolean) {
    if (ofProcess) collectDefaultMetrics({ register: this.registry })
  }

  request(method: string, route: string, status: number, seconds: number): void {
    this.requests.observe({ method, route, status }, seconds)
  }

  end({ kind, status, model, startedAt, finishedAt }: Job): void {
    this.finished.inc({ kind, status, model })
    if (status !== 'completed' || startedAt === null || finishedAt === null) return
    const ms = Date.parse(finishedAt) - Date.parse(startedAt)
    this.durations.observe({ kind, model }, ms / 1000)
  }

  load(model: string): void {
    this.loads.inc({ model })
  }

  /** What is looked up when it is asked for. */
  watch({ jobs, models }: Context, streams: EventStreams): void {
    const registers = [this.registry]
    const counts = ['queued', 'running', 'kept', 'keptBytes'] as const
    new Gauge({
      name: 'magicmix_jobs',
      help: 'Jobs that wait, run and are kept, and the bytes of their results',
      labelNames: ['what'] as const,
      registers,
      async collect() {
        const now = await jobs.counts()
        for (const what of counts) this.set({ what }, now[what])
      },
    })
    new Gauge({
      name: 'magicmix_model_weights_bytes',
      help: 'Memory of the weights of loaded models',
      labelNames: ['model'] as const,
      registers,
      collect() {
        this.reset()
        for (const { name, isLoaded, info } of models.describe()) {
          if (isLoaded && info) this.set({ model: name }, info.memory.weights)
        }
      },
    })
    new Gauge({
      name: 'magicmix_event_streams',
      help: 'Event streams that are open',
      registers,
      collect() {
        this.set(streams.count)
      },
    })
  }
}

export function metricsRoutes(app: FastifyInstance, metrics: Metrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { url = 'none' } = request.routeOptions
    const isStream = url.endsWith('/events')
    if (!isStream) metrics.request(request.method, url, reply.statusCode, reply.elapsedTime / 1000)
    done()
  })
  app.get(
    '/metrics',
    {
      schema: {
        tags: ['health'],
        summary: 'Figures for Prometheus',
        response: {
          200: {
            description: 'Figures',
            content: { 'text/plain': { schema: { type: 'string' } } },
          },
          ...problems(),
        },
      },
    },
    async (_, reply) =>
      reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  )
}
