/** `magicmix mcp`: the package magicmix-server, which this one does not depend on. */
import type { LoadOptions } from '../models/load-options.js'
import { type Arguments, type Command, UsageError, textOption } from './command.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { serverPackage } from './server-package.js'

export const command: Command = {
  name: 'mcp',
  usage: 'mcp [options]',
  summary: 'tools for language models, on standard input and output',
  about: `Serves the tools mix, sweep, tokenize and inspect over the Model Context Protocol, until its input ends. It
needs the package magicmix-server. Tools name no files, unless --files gives a folder of pictures.`,
  examples: [
    'magicmix mcp',
    `# layouts and pictures to inspect may be named, if they are in this folder
magicmix mcp --files ~/Pictures --model sd-v1-4.safetensors`,
  ],
  options: {
    files: { type: 'string', value: 'DIR', help: 'a folder whose pictures tools may name [none]' },
    config: {
      type: 'string',
      value: 'FILE',
      help: "the server's config file: models, LoRAs, limits",
    },
    log: {
      type: 'string',
      value: 'LEVEL',
      help: 'silent, error, warn, info or debug [default warn], to standard error',
    },
    ...loadFlags,
  },
  run,
}

/** Of magicmix-server, which has types of its own. */
interface McpPackage {
  mcp(options: {
    files: string | undefined
    config: string | undefined
    load: LoadOptions | undefined
    log: string | undefined
    signal: AbortSignal
  }): Promise<void>
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('mcp takes no arguments')
  const { mcp } = await serverPackage<McpPackage>('mcp')
  const config = textOption(values, 'config')
  const isGiven = Object.keys(loadFlags).some((name) => values[name] !== undefined)
  await mcp({
    files: textOption(values, 'files'),
    config,
    load: isGiven || config === undefined ? loadOptionsFrom(values) : undefined,
    log: textOption(values, 'log'),
    signal,
  })
}
