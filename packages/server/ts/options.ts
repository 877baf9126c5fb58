/** The options of a server, in code and in its config file. */
import type { LoadOptions, MagicMix } from 'magicmix'

import type { Jobs, JobsOptions } from './jobs/jobs.js'
import type { Limits } from './limits.js'
import type { RedisOptions } from './redis/options.js'
import type { NamedLoras } from './work/work.js'

/**
 * Options of {@link createServer}.
 *
 * @example
 * ```ts
 * import { createServer } from 'magicmix-server'
 *
 * const server = await createServer({
 *   models: { sd15: { model: 'hf:sd1.5' }, box: {} }, // loaded when they are first asked for
 *   defaultModel: 'box',
 *   token: process.env.MAGICMIX_TOKEN,
 *   hosts: ['mixes.example.org'],
 *   limits: { steps: 60, queue: 20 },
 * })
 * ```
 */
export interface ServerOptions {
  /** A model that is here already; it stays the caller's, who disposes of it. */
  mixer?: MagicMix | undefined
  /**
   * Models by name, with their options of `MagicMix.load`: loaded when they are first asked for. Default: the model in
   * the box, unless there is a `mixer`.
   */
  models?: Readonly<Record<string, LoadOptions>> | undefined
  /** Name of the model of requests that name none. Default: the mixer, else the first of `models`. */
  defaultModel?: string | undefined
  /** Bytes that the weights of all loaded models may have; the least used are unloaded. Default: what is there. */
  memory?: number | undefined
  /** LoRAs by the names that requests have for them. Default: none. */
  loras?: NamedLoras | undefined
  /** What clients have to show (`Authorization: Bearer`). Needed for any address but this machine's own. */
  token?: string | undefined
  /** Further names that the server is reached by, such as that of a proxy. */
  hosts?: readonly string[] | undefined
  /** A proxy is in front of it: the address of a client is what its X-Forwarded-For says. Default false. */
  behindProxy?: boolean | undefined
  /** See the README. */
  limits?: Partial<Record<keyof Limits, number | undefined>> | undefined
  /** 'silent', or a level of pino's. Default 'silent'. */
  log?: LogLevel | undefined
  /** Figures of the whole process in /metrics. Default false. */
  processMetrics?: boolean | undefined
  /** Milliseconds between two comments of a silent event stream. Default 15000. */
  heartbeat?: number | undefined
  /**
   * Jobs are in Redis, and `magicmix worker` works on them wherever it runs: this server has no models of its own, and `models` are
   * no more than names. Default: all in this process.
   */
  redis?: RedisOptions | undefined
  /** Where jobs are kept and worked on. Default: in this process, or in `redis`. */
  jobs?: ((options: JobsOptions) => Jobs) | undefined
}

/**
 * 'silent', or a level of pino's: what is less important is not logged.
 *
 * @example
 * ```ts
 * import { type LogLevel, createServer } from 'magicmix-server'
 *
 * const log: LogLevel = process.argv.includes('--verbose') ? 'debug' : 'warn'
 * const server = await createServer({ log }) // lines of JSON on standard error
 * ```
 */
export type LogLevel = (typeof logLevels)[number]
export const logLevels = ['silent', 'error', 'warn', 'info', 'debug'] as const
