/** What `magicmix mcp` runs: the tools on standard input and output. */
import type { LoadOptions } from 'magicmix'

import { readConfig } from './config.js'
import { limitsFrom } from './limits.js'
import { aborted, levelOf, modelsOf } from './serve.js'
import { createServer } from './server.js'

/**
 * Options of {@link mcp}, as `magicmix mcp` has them.
 *
 * @example
 * <!-- snippet: types, needs a client on standard input -->
 * ```ts
 * import { mcp } from 'magicmix-server'
 *
 * await mcp({
 *   load: { model: 'sd-v1-4.safetensors' },
 *   files: 'pictures', // tools may name those in this folder
 *   signal: AbortSignal.timeout(3_600_000),
 * })
 * ```
 */
export interface McpOptions {
  /** A config file: of it `models`, `defaultModel`, `memory`, `loras`, `limits` and `log` count. */
  config?: string | undefined
  /** Options of the one model, where the config file has none. */
  load?: LoadOptions | undefined
  /** A folder that tools may name pictures of. Default: none, tools name no files. */
  files?: string | undefined
  /** The {@link LogLevel}, to standard error. Default 'warn'. */
  log?: string | undefined
  /** Ends it. */
  signal: AbortSignal
}

/**
 * Resolves when standard input ends, or the signal aborts. Writes nothing but messages to standard output.
 *
 * @example
 * <!-- snippet: types, needs a client on standard input -->
 * ```ts
 * import { mcp } from 'magicmix-server'
 *
 * const stop = new AbortController()
 * process.once('SIGTERM', () => stop.abort())
 * await mcp({ files: 'pictures', signal: stop.signal })
 * ```
 */
export async function mcp(options: McpOptions): Promise<void> {
  const config = options.config === undefined ? {} : await readConfig(options.config)
  const { defaultModel, memory, loras } = config
  const limits = limitsFrom(config.limits)
  const [{ mcpServer }, { Folder }, { StdioServerTransport }] = await Promise.all([
    import('./mcp/tools.js'),
    import('./mcp/folder.js'),
    import('@modelcontextprotocol/sdk/server/stdio.js'),
  ])
  const { files } = options
  const folder = files === undefined ? undefined : await Folder.of(files, limits.bodyBytes)
  // It does not listen: it is asked through its context.
  const server = await createServer({
    ...{ models: modelsOf(options.load, config, false), defaultModel, memory, loras, limits },
    log: levelOf(options.log) ?? config.log ?? 'warn',
  })
  try {
    const tools = mcpServer(server.context, folder)
    const ended = new Promise<void>((resolve) => {
      tools.onclose = resolve
      process.stdin.once('end', resolve)
    })
    await tools.connect(new StdioServerTransport())
    await Promise.race([ended, aborted(options.signal)])
    await tools.close()
  } finally {
    await server.close()
  }
}
