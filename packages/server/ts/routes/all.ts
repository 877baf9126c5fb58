/** All groups of routes: a line each. */
import type { FastifyInstance } from 'fastify'

import type { Context } from '../context.js'
import { aboutRoutes } from './about.js'
import type { EventStreams } from './events.js'
import { healthRoutes } from './health.js'
import { mcpRoutes } from './mcp.js'
import { mixRoutes } from './mixes.js'
import { recipeRoutes } from './recipes.js'
import { studioRoutes } from './studio.js'
import { openAiRoutes } from './openai.js'
import { sdapiRoutes } from './sdapi.js'
import { sweepRoutes } from './sweeps.js'
import { workerRoutes } from './workers.js'

export type RouteGroup = (app: FastifyInstance, context: Context, streams: EventStreams) => void

export const routeGroups: readonly RouteGroup[] = [
  mixRoutes,
  sweepRoutes,
  aboutRoutes,
  healthRoutes,
  recipeRoutes,
  studioRoutes,
  workerRoutes,
  openAiRoutes,
  sdapiRoutes,
  mcpRoutes,
]
