/** `magicmix serve`: the package magicmix-server, which this one does not depend on. */
import type { LoadOptions } from '../models/load-options.js'
import { type Arguments, type Command, UsageError, numberOption, textOption } from './command.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { serverPackage } from './server-package.js'

export const command: Command = {
  name: 'serve',
  usage: 'serve [options]',
  summary: 'serve mixes over HTTP, with a page to try them',
  about: `Serves the model over HTTP until it is stopped; running mixes are finished then. Without options that is
the model in the package, for this machine alone. It needs the package magicmix-server.`,
  examples: [
    'magicmix serve',
    `# for others: they have to show the token
MAGICMIX_TOKEN=... magicmix serve --host 0.0.0.0 --model sd-v1-4.safetensors`,
  ],
  options: {
    host: { type: 'string', value: 'NAME', help: 'the address to listen at [default 127.0.0.1]' },
    port: { type: 'string', value: 'N', help: 'the port; 0 is any [default 7860]' },
    token: {
      type: 'string',
      value: 'TEXT',
      help: 'what clients have to show; better in MAGICMIX_TOKEN, which others cannot see',
    },
    config: { type: 'string', value: 'FILE', help: 'a config file: several models, limits, names' },
    redis: {
      type: 'string',
      value: 'URL',
      help: 'put jobs into this Redis, where `magicmix worker` takes them from; or in MAGICMIX_REDIS',
    },
    log: {
      type: 'string',
      value: 'LEVEL',
      help: 'silent, error, warn, info or debug [default warn]',
    },
    ...loadFlags,
  },
  run,
}

/** Of magicmix-server, which has types of its own. */
interface ServerPackage {
  serve(options: {
    host: string | undefined
    port: number | undefined
    token: string | undefined
    config: string | undefined
    load: LoadOptions | undefined
    redis: string | undefined
    log: string | undefined
    signal: AbortSignal
    onListening: (address: string) => void
  }): Promise<void>
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('serve takes no arguments')
  const { serve } = await serverPackage<ServerPackage>('serve')
  const config = textOption(values, 'config')
  const isGiven = Object.keys(loadFlags).some((name) => values[name] !== undefined)
  await serve({
    host: textOption(values, 'host'),
    port: numberOption(values, 'port'),
    token: textOption(values, 'token') ?? (process.env.MAGICMIX_TOKEN || undefined),
    config,
    // What the environment says is not said against a config file.
    load: isGiven || config === undefined ? loadOptionsFrom(values) : undefined,
    redis: textOption(values, 'redis') ?? (process.env.MAGICMIX_REDIS || undefined),
    log: textOption(values, 'log'),
    signal,
    onListening: (address) => {
      console.log(values.json ? JSON.stringify({ address }) : `magicmix serves at ${address}`)
    },
  })
}
