/** The devices that a model can run on, and the one that a request means. */
import { MagicMixError, calledFrom } from '../errors.js'
import { native } from '../native/native.js'
import { type Option, checkOptions, flag } from '../options/option.js'
import {
  type BackendLibrary,
  type GpuBackend,
  backendLibraries,
  gpuBackends,
  whyMissing,
} from './libraries.js'
import type { Verdict } from './preflight.js'
import { unpacked } from './unpack.js'
import { verdictsOn } from './verdicts.js'

/**
 * Kinds of devices. Software is a driver that computes on the CPU: right, and very slow.
 *
 * @example
 * ```ts
 * import { devices } from 'magicmix'
 *
 * const gpus = (await devices()).filter(({ kind }) => kind === 'discrete' || kind === 'integrated')
 * console.log(gpus.map(({ id, description }) => `${id}: ${description}`))
 * ```
 */
export type DeviceKind = 'cpu' | 'discrete' | 'integrated' | 'software'

/**
 * Hardware that magicmix knows of, or a kind of it that it looked for.
 *
 * @example
 * ```ts
 * import { devices } from 'magicmix'
 *
 * for (const { id, usable, chosen, reason, freeMemory } of await devices()) {
 *   if (!usable) console.log(`${id} cannot be used: ${reason}`)
 *   else console.log(`${id}${chosen ? ', which auto takes' : ''}: ${freeMemory} bytes are free`)
 * }
 * ```
 */
export interface Device {
  /** Its name for {@link LoadOptions.device}: 'cpu', 'cuda:0', ... */
  readonly id: string
  /** Name of the hardware; empty where none was found. */
  readonly description: string
  /** Which of ggml's backends runs it. */
  readonly backend: 'cpu' | GpuBackend
  /** 'unknown' where none was found. */
  readonly kind: DeviceKind | 'unknown'
  /** Whether a model can run on it. GPUs have computed something, and right. */
  readonly usable: boolean
  /** Whether `device: 'auto'` takes it. */
  readonly chosen: boolean
  /** Why it cannot be used, or is not used by 'auto' although it could be; else empty. */
  readonly reason: string
  /** In bytes; 0 if unknown. */
  readonly totalMemory: number
  /** In bytes, when it was looked at; 0 if unknown. */
  readonly freeMemory: number
}

/**
 * Options of {@link devices}.
 *
 * @example
 * ```ts
 * import { devices } from 'magicmix'
 *
 * await devices({ fresh: true }) // a GPU was busy when it was tested first
 * ```
 */
export interface DevicesOptions {
  /** Test every GPU now, whatever was found before. Default false. */
  fresh?: boolean | undefined
}

/** The options of `devices`: one row each. */
export const devicesOptions = {
  fresh: flag({
    help: 'test every GPU now, whatever was found before',
    default: false,
    cli: { flag: 'fresh' },
  }),
} satisfies Record<keyof DevicesOptions, Option>

/**
 * The usable devices, best first, then the others with the reason. The first time, every GPU is
 * tested in a separate process, which may take some seconds; the verdict is kept until
 * the driver or magicmix changes.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, ADDON_UNAVAILABLE
 * @example
 * ```ts
 * import { devices } from 'magicmix'
 *
 * console.table(await devices()) // which there are, which `load` takes, and why not the others
 * ```
 */
export function devices(options: DevicesOptions = {}): Promise<Device[]> {
  return calledFrom(devices, async () => {
    const { fresh } = checkOptions(devicesOptions, options, 'devices', '', 'the options of devices')
    const libraries = await backendLibraries()
    const found = await Promise.all(
      gpuBackends.map((backend) => devicesOf(backend, libraries, fresh)),
    )
    const all = [...found.flat(), cpu()].sort((a, b) => rank(a) - rank(b))
    const chosen = all.find(isForAuto)
    return all.map((device) => ({ ...device, chosen: device === chosen }))
  })
}

/**
 * Finds the device that `wanted` means: 'auto' the best, 'gpu' the best but for the CPU, 'cuda',
 * 'metal' and 'vulkan' the best of that kind, or the one with that id. Then the addon can use it.
 *
 * @throws {@link MagicMixError} DEVICE_UNAVAILABLE; never takes another one instead
 */
export async function useDevice(wanted: string): Promise<string> {
  if (wanted === 'cpu') return wanted
  const libraries = await backendLibraries()
  const backend = gpuBackends.find((each) => each === wanted.split(':')[0])
  if (!backend && wanted !== 'auto' && wanted !== 'gpu') throw unknown(wanted)

  const looked: Device[] = []
  for (const each of backend ? [backend] : gpuBackends) {
    const found = (await devicesOf(each, libraries, false)).sort((a, b) => rank(a) - rank(b))
    looked.push(...found)
    const device = found.find((one) =>
      backend ? one.usable && [one.id, one.backend].includes(wanted) : isForAuto(one),
    )
    if (!device) continue
    const library = libraries.find((one) => one.backend === each) as BackendLibrary
    await native().loadBackend(await unpacked(library.file)).done
    return device.id
  }
  if (wanted === 'auto') return 'cpu'
  throw unavailable(wanted, looked)
}

async function devicesOf(
  backend: GpuBackend,
  libraries: BackendLibrary[],
  fresh: boolean,
): Promise<Device[]> {
  const library = libraries.find((each) => each.backend === backend)
  if (!library) return [nothing(backend, whyMissing(backend))]
  const { devices: found, problem } = await verdictsOn(library, fresh)
  return problem ? [nothing(backend, problem)] : found.map((each) => deviceOf(backend, each))
}

function nothing(backend: GpuBackend, reason: string): Device {
  return {
    id: backend,
    description: '',
    backend,
    kind: 'unknown',
    usable: false,
    chosen: false,
    reason,
    totalMemory: 0,
    freeMemory: 0,
  }
}

function deviceOf(backend: GpuBackend, verdict: Verdict): Device {
  const { id, description, kind, reason, totalMemory, freeMemory } = verdict
  const shunned = kind === 'software' ? "a software renderer, which 'auto' never takes" : ''
  return {
    id,
    description,
    backend,
    kind,
    usable: !reason,
    chosen: false,
    reason: reason || shunned,
    totalMemory,
    freeMemory,
  }
}

function cpu(): Device {
  const found = native()
    .devices()
    .find(({ id }) => id === 'cpu')
  return {
    id: 'cpu',
    description: found?.description ?? '',
    backend: 'cpu',
    kind: 'cpu',
    usable: true,
    chosen: false,
    reason: '',
    totalMemory: found?.totalMemory ?? 0,
    freeMemory: found?.freeMemory ?? 0,
  }
}

/** Usable before unusable; CUDA, Metal, Vulkan, the CPU, software; discrete before integrated. */
function rank({ usable, kind, backend }: Device): number {
  const order = [...gpuBackends, 'cpu']
  const kinds = ['discrete', 'integrated', 'cpu', 'software', 'unknown']
  const slow = kind === 'software' ? 1 : 0
  return 1000 * Number(!usable) + 100 * slow + 10 * order.indexOf(backend) + kinds.indexOf(kind)
}

function isForAuto({ usable, kind }: Device): boolean {
  return usable && kind !== 'software'
}

function unknown(wanted: string): MagicMixError {
  return new MagicMixError(
    'DEVICE_UNAVAILABLE',
    `Expected a device such as 'auto', 'cpu', 'gpu', 'cuda:0', 'metal' or 'vulkan' but received ` +
      `'${wanted}'; devices() lists those of this machine`,
    { device: wanted },
  )
}

function unavailable(wanted: string, looked: Device[]): MagicMixError {
  const reasons = looked.map(({ id, description, usable, reason }) => {
    const name = description ? `${id} (${description})` : id
    return `${name}: ${reason || (usable ? 'usable, but not the one asked for' : 'not usable')}`
  })
  return new MagicMixError(
    'DEVICE_UNAVAILABLE',
    `The device '${wanted}' cannot be used here. ${reasons.join('; ')}. ` +
      `'cpu' can always be used, and 'auto' takes the best there is.`,
    { device: wanted, devices: looked },
  )
}
