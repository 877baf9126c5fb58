/** `magicmix devices`: the devices that a model can run on. */
import { type Device, devicesOptions } from '../devices/devices.js'
import { type Arguments, type Command, UsageError } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { bytes } from './report.js'

export const command: Command = {
  name: 'devices',
  usage: 'devices [options]',
  summary: 'list the devices that a model can run on, and why others cannot be used',
  about:
    'Lists the usable devices, best first, then the others with the reason. The first time, every\n' +
    'GPU is tested in a separate process.',
  examples: ['magicmix devices'],
  options: flagsOf(devicesOptions),
  run,
}

async function run({ positionals, values }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('devices takes no arguments')
  const { devices } = await import('../devices/devices.js')
  const found = await devices(optionsFrom(devicesOptions, values))
  console.log(values.json ? JSON.stringify(found) : deviceTable(found))
}

/** A line or two for each device. */
export function deviceTable(devices: readonly Device[]): string {
  const width = Math.max(...devices.map(({ id }) => id.length))
  return devices
    .flatMap(({ id, description, kind, usable, chosen, reason, totalMemory, freeMemory }) => {
      const memory = totalMemory > 0 ? `, ${bytes(freeMemory)} of ${bytes(totalMemory)} free` : ''
      const hardware = description ? `${description} (${kind})${memory}` : 'none'
      const verdict = usable ? reason : `not usable: ${reason}`
      return [
        `${chosen ? '*' : ' '} ${id.padEnd(width)}  ${hardware}`,
        ...(verdict ? [`  ${' '.repeat(width)}  ${verdict}`] : []),
      ]
    })
    .concat('', '* is the one that --device auto takes.')
    .join('\n')
}
