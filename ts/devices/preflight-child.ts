/**
 * A program of its own, for preflight.ts: loads the library of a backend and computes a little on each
 * of its devices. A driver that crashes takes this process with it, and nothing else.
 *
 *     node preflight-child.js LIBRARY BACKEND [DEVICE TO LEAVE OUT ...]
 */
import { messageOf } from '../errors.js'
import { native } from '../native/native.js'
import type { Report } from './preflight.js'

async function main([library = '', backend = '', ...leftOut]: string[]): Promise<void> {
  const binding = native()
  await binding.loadBackend(library).done
  const devices = binding.devices().filter((device) => device.backend === backend)
  report({ devices })
  for (const { id } of devices) {
    if (leftOut.includes(id)) continue
    report({ testing: id })
    try {
      report({ tested: id, ...(await binding.preflight(id).done) })
    } catch (error) {
      report({ tested: id, passed: false, problem: messageOf(error) })
    }
  }
}

/** Resolves nothing: the channel keeps the order, and is drained before the process ends. */
function report(message: Report): void {
  process.send?.(message)
}

void main(process.argv.slice(2))
  .catch((error: unknown) => report({ failed: messageOf(error) }))
  .finally(() => process.disconnect?.())
