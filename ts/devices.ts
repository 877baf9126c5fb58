/** What a model can run on. */
import { callSite } from './errors.js'
import { native } from './native.js'

/** Hardware that magicmix knows of. */
export interface Device {
  /** What {@link LoadOptions.device} takes: 'cpu', 'cuda:0', ... */
  id: string
  /** Name of the hardware. */
  description: string
  /** 'cpu', 'cuda', 'metal' or 'vulkan'. */
  backend: string
  /** Whether a model can run on it. */
  available: boolean
  /** Why it cannot be used; empty if it can. */
  reason: string
  /** In bytes; 0 if unknown. */
  totalMemory: number
  /** In bytes; 0 if unknown. */
  freeMemory: number
}

/** What can be used here, best first, then what cannot be used and why. */
export function devices(): Device[] {
  const site = callSite(devices)
  try {
    return native.devices().map((device) => ({ ...device }))
  } catch (error) {
    throw site.errorFor(error)
  }
}
