/** `magicmix doctor`: the installation, the devices, and whether they compute right. */
import type { Device } from '../devices/devices.js'
import type { NativeMixer } from '../native/contract.js'
import { type Arguments, type Command, UsageError, textOption } from './command.js'
import { deviceTable } from './devices.js'
import { modelFlag, modelFrom } from './model-options.js'

export const command: Command = {
  name: 'doctor',
  usage: 'doctor [options]',
  summary: 'check the installation, and every device against the CPU',
  about:
    'Lists the installation and the devices. Then every device sends a picture through\n' +
    'the autoencoder and back, and takes one step of the UNet, at two sizes; both are compared with\n' +
    'the CPU in f32. Ends with code 1 if a device is off.',
  examples: ['magicmix doctor', 'magicmix doctor --model sd-v1-4.safetensors --device cuda'],
  options: {
    ...modelFlag,
    device: {
      type: 'string',
      value: 'ID',
      help: 'check only that one (default: all but software renderers)',
    },
  },
  run,
}

/** Of pictures, in pixels: square, and one whose sides are no powers of two. */
const sizes = [
  [512, 512],
  [384, 640],
] as const

/** f16 and bf16 cost some 1 %; a wrong computation is far off. */
const tolerance = 0.05

interface Check {
  device: string
  width: number
  height: number
  /** Relative errors. */
  autoencoder: number
  step: number
  /** Milliseconds. */
  autoencoderMs: number
  stepMs: number
  ok: boolean
}

async function run({ positionals, values, signal }: Arguments): Promise<number> {
  if (positionals.length > 0) throw new UsageError('doctor takes no arguments')
  const { devices } = await import('../devices/devices.js')
  const { addon } = await import('../native/native.js')
  const { file: addonFile, cpuProblem } = addon()
  const { platform, libc } = await import('../native/addon.js')

  const found = await devices({ fresh: true })
  const installation = {
    node: process.versions.node,
    platform: libc ? `${platform} (${libc})` : platform,
    addon: addonFile,
    cpuProblem,
  }
  if (!values.json) {
    console.log(`Node        ${installation.node} on ${installation.platform}`)
    console.log(`addon       ${addonFile}`)
    if (cpuProblem) console.log(`CPU         not its fastest code: ${cpuProblem}`)
    console.log(`\n${deviceTable(found)}\n`)
  }

  const wanted = textOption(values, 'device')
  const checks: Check[] = []
  const model = modelFrom(values)
  const references = await measure(model, 'cpu', 'f32')
  for (const id of wanted ? [wanted] : idsOf(found)) {
    signal.throwIfAborted()
    const results = await measure(model, id, 'auto')
    for (const [i, result] of results.entries()) {
      const check = compare(id, result, references[i] as Measured)
      checks.push(check)
      if (!values.json) console.log(lineOf(check))
    }
  }
  if (values.json) console.log(JSON.stringify({ installation, devices: found, checks }))
  return checks.every(({ ok }) => ok) ? 0 : 1
}

function idsOf(devices: readonly Device[]): string[] {
  return devices.filter(({ usable, kind }) => usable && kind !== 'software').map(({ id }) => id)
}

// -------------------------------------------------------------------------------------------------

interface Measured {
  width: number
  height: number
  picture: Float32Array
  noise: Float32Array
  autoencoderMs: number
  stepMs: number
}

async function measure(
  model: string | undefined,
  device: string,
  precision: 'auto' | 'f32',
): Promise<Measured[]> {
  const { useDevice } = await import('../devices/devices.js')
  const { resolveModel } = await import('../hub/pull.js')
  const { checkLoadOptions } = await import('../models/load-options.js')
  const { native } = await import('../native/native.js')
  const { native: options } = checkLoadOptions({ model, device, precision })
  const file = await resolveModel(options.model, {})
  const { originalConfigOf } = await import('../models/original-config.js')
  const originalConfig = await originalConfigOf(file)
  const id = await useDevice(device)
  const wanted = { ...options, model: file, device: id, originalConfig }
  const mixer = await native().load(wanted, null).done
  try {
    const results: Measured[] = []
    for (const [width, height] of sizes) results.push(await measureAt(mixer, width, height))
    return results
  } finally {
    await mixer.dispose()
  }
}

async function measureAt(mixer: NativeMixer, width: number, height: number): Promise<Measured> {
  const data = waves(width, height)
  const latentWidth = width / 8
  const latentHeight = height / 8
  const size = { latentWidth, latentHeight, stages: false }

  const began = performance.now()
  const { mean } = await mixer.encodePicture({ data, width, height, stages: false }).done
  const latent = mean.map((value) => value * mixer.info.sizes.vae.scalingFactor)
  const { rgb } = await mixer.decodeLatent({ latent, ...size }).done
  const autoencoderMs = performance.now() - began

  const { contextOf } = await import('../input/tokens.js')
  const tokens = contextOf([], false, 'the empty prompt', mixer.info.sizes.textEncoder.padding)
  const text = await mixer.encodeText(tokens).done
  const stepped = performance.now()
  const step = mixer.predictNoise({ latent, ...size, timestep: 500, ...text, attention: [] })
  const { epsilon } = await step.done
  const stepMs = performance.now() - stepped
  return { width, height, picture: rgb, noise: epsilon, autoencoderMs, stepMs }
}

/** A picture as smooth as those that the autoencoder knows: noise would show rounding tenfold. */
function waves(width: number, height: number): Uint8Array {
  return Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    const pixel = Math.floor(i / 3)
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    return Math.round(127 + 100 * Math.sin(x / 50) * Math.cos(y / 40 + (i % 3)))
  })
}

function compare(device: string, found: Measured, reference: Measured): Check {
  const { width, height, autoencoderMs, stepMs } = found
  const autoencoder = relativeError(found.picture, reference.picture)
  const step = relativeError(found.noise, reference.noise)
  const ok = autoencoder < tolerance && step < tolerance // false for NaN
  return { device, width, height, autoencoder, step, autoencoderMs, stepMs, ok }
}

function relativeError(found: Float32Array, expected: Float32Array): number {
  let difference = 0
  let size = 0
  for (const [i, value] of expected.entries()) {
    difference += ((found[i] as number) - value) ** 2
    size += value ** 2
  }
  return Math.sqrt(difference / size)
}

function lineOf({ device, width, height, ok, ...check }: Check): string {
  const percent = (error: number) => `${(100 * error).toFixed(2)} % off`
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
  return (
    `${device.padEnd(10)}  ${width} x ${height}: autoencoder ${percent(check.autoencoder)} in ` +
    `${seconds(check.autoencoderMs)}, step ${percent(check.step)} in ${seconds(check.stepMs)}: ` +
    (ok ? 'ok' : 'WRONG')
  )
}
