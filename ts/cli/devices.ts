/** `magicmix devices`: what a model can run on. */
import { type Arguments, type Command, UsageError } from './command.js'
import { bytes } from './report.js'

export const command: Command = {
  name: 'devices',
  usage: 'devices [options]',
  summary: 'list what a model can run on, and why something cannot be used',
  about: 'Lists what can be used, best first, then what cannot be used and why.',
  examples: ['magicmix devices'],
  options: {},
  run,
}

async function run({ positionals, values }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('devices takes no arguments')
  const { devices } = await import('../devices.js')
  const found = devices()
  if (values.json) {
    console.log(JSON.stringify(found))
    return
  }
  const width = Math.max(...found.map(({ id }) => id.length))
  for (const { id, description, available, reason, totalMemory, freeMemory } of found) {
    const memory = totalMemory > 0 ? `, ${bytes(freeMemory)} of ${bytes(totalMemory)} free` : ''
    console.log(`${id.padEnd(width)}  ${description}${memory}`)
    if (!available) console.log(`${' '.repeat(width)}  not available: ${reason}`)
  }
}
