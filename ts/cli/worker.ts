/** `magicmix worker`: the package magicmix-server, which this one does not depend on. */
import type { LoadOptions } from '../models/load-options.js'
import { type Arguments, type Command, UsageError, textOption } from './command.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { serverPackage } from './server-package.js'

export const command: Command = {
  name: 'worker',
  usage: 'worker --redis URL [options]',
  summary: 'work on the jobs that servers put into a Redis',
  about: `Takes jobs for its model from the Redis that \`magicmix serve --redis\` puts them into, until it is stopped; running
ones are finished then. Any number of workers may run, on any machines. It needs the package magicmix-server.`,
  examples: [
    'magicmix worker --redis redis://queue.local --model sd-v1-4.safetensors',
    `# the address may hold a password, which others cannot see so
MAGICMIX_REDIS=redis://:...@queue.local magicmix worker`,
  ],
  options: {
    redis: {
      type: 'string',
      value: 'URL',
      help: 'redis://HOST:PORT or rediss://…; better in MAGICMIX_REDIS if it holds a password',
    },
    config: {
      type: 'string',
      value: 'FILE',
      help: "the server's config file: models, LoRAs, limits",
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
interface WorkerPackage {
  worker(options: {
    redis: string | undefined
    config: string | undefined
    load: LoadOptions | undefined
    log: string | undefined
    signal: AbortSignal
    onReady: (models: readonly string[]) => void
  }): Promise<void>
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('worker takes no arguments')
  const { worker } = await serverPackage<WorkerPackage>('worker')
  const config = textOption(values, 'config')
  const isGiven = Object.keys(loadFlags).some((name) => values[name] !== undefined)
  await worker({
    redis: textOption(values, 'redis') ?? (process.env.MAGICMIX_REDIS || undefined),
    config,
    load: isGiven || config === undefined ? loadOptionsFrom(values) : undefined,
    log: textOption(values, 'log'),
    signal,
    onReady: (models) => {
      console.log(
        values.json ? JSON.stringify({ models }) : `magicmix works for ${models.join(', ')}`,
      )
    },
  })
}
