/**
 * magicmix over HTTP. Begin at {@link createServer}.
 *
 * @module magicmix-server
 * @packageDocumentation
 */
import './types.js'

export type { Context } from './context.js'
export type {
  Blob,
  Counts,
  EventName,
  Job,
  JobEvent,
  JobKind,
  JobStatus,
  Jobs,
  JobsOptions,
  Order,
  Report,
  Work,
} from './jobs/jobs.js'
export { MemoryJobs } from './jobs/memory-jobs.js'
export { type LimitName, type LimitRow, type Limits, limitRows } from './limits.js'
export type { LogLevel, ServerOptions } from './options.js'
export { type JobError, Problem, type ProblemCode, type ProblemJson } from './problem.js'
export { type ServeOptions, serve } from './serve.js'
export { type MagicMixServer, createServer } from './server.js'
export type { NamedLoras } from './work/work.js'
export { type McpOptions, mcp } from './mcp.js'
export type { RedisOptions } from './redis/options.js'
export { type WorkerOptions, worker } from './worker.js'
