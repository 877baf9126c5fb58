/**
 * The program of a mixer's own process, for isolated-mixer.ts: loads a model and works on it as it is
 * told to, until its owner is gone.
 */
import { useDevice } from '../devices/devices.js'
import { messageOf } from '../errors.js'
import type { NativeJob, NativeMixer, NativeProgress } from '../native/contract.js'
import { native } from '../native/native.js'
import type { Answer, Loaded, Order } from './messages.js'

let mixer: NativeMixer | undefined
const jobs = new Map<number, NativeJob<unknown>>()
/** Those that were cancelled before they were jobs. */
const cancelled = new Set<number>()

process.on('message', (order: Order) => void obey(order))
process.on('disconnect', () => process.exit())

async function obey(order: Order): Promise<void> {
  const { id } = order
  if ('cancel' in order) {
    if (!jobs.get(id)) cancelled.add(id)
    jobs.get(id)?.cancel()
    return
  }
  try {
    const job = await jobOf(order)
    jobs.set(id, job)
    if (cancelled.has(id)) job.cancel()
    const result = await job.done
    if ('load' in order) {
      mixer = result as NativeMixer
      const { info, schedule } = mixer
      answer({ id, result: { info, schedule } satisfies Loaded })
    } else {
      answer({ id, result })
    }
  } catch (error) {
    const { code = 'INTERNAL', details = {} } = error as { code?: string; details?: object }
    answer({ id, error: { code, message: messageOf(error), details } })
  } finally {
    jobs.delete(id)
    cancelled.delete(id)
  }
}

async function jobOf(order: Exclude<Order, { cancel: true }>): Promise<NativeJob<unknown>> {
  const report = (event: NativeProgress) => answer({ id: order.id, event })
  if ('load' in order) {
    const device = await useDevice(order.load.device)
    return native().load({ ...order.load, device }, report)
  }
  if (!mixer) throw new Error('no model is loaded in this process')
  const { operation, input, reports } = order
  return operation === 'mix'
    ? mixer.mix(input as never, reports ? report : null)
    : mixer[operation](input as never)
}

function answer(message: Answer): void {
  process.send?.(message)
}
