/** Measuring a server from outside, and its event loop from inside. */
import { fork } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import path from 'node:path'

interface Task {
  address: string
  method: 'GET' | 'POST'
  path: string
  body?: unknown
}
export interface RateTask extends Task {
  kind: 'rate'
  connections: number
  ms: number
}
export interface BurstTask extends Task {
  kind: 'burst'
  clients: number
}
export interface RateResult {
  perSecond: number
  latencies: number[]
}
export interface BurstAnswer {
  status: number
  retryAfter?: string
  id: string
  position: number
}

export function clients(task: RateTask): Promise<RateResult>
export function clients(task: BurstTask): Promise<BurstAnswer[]>
export function clients(task: RateTask | BurstTask): Promise<RateResult | BurstAnswer[]> {
  const child = fork(path.join(__dirname, 'clients.mjs'), { execArgv: [] })
  return new Promise((resolve, reject) => {
    child.once('message', (result) => resolve(result as RateResult | BurstAnswer[]))
    child.once('error', reject)
    child.once('exit', (code) => {
      if (code !== 0) reject(new Error(`the clients ended with ${code}`))
    })
    child.send(task)
  })
}

/** How late the event loop is while `work` goes on, in ms. */
export async function loopDelayDuring<T>(
  work: () => Promise<T>,
): Promise<{ result: T; p50: number; p99: number; max: number }> {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  const result = await work()
  histogram.disable()
  const ms = (nanoseconds: number) => Number((nanoseconds / 1e6).toFixed(1))
  const { max } = histogram
  return {
    result,
    ...{ p50: ms(histogram.percentile(50)), p99: ms(histogram.percentile(99)), max: ms(max) },
  }
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN
}
