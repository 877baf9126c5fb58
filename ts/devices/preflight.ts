/** Lists and tests the devices of a backend in a separate process. */
import type { ChildProcess } from 'node:child_process'
import path from 'node:path'

import { messageOf } from '../errors.js'
import { startProgram, whyNoProcess } from '../own-process.js'
import type { NativeDevice } from '../native/contract.js'
import type { GpuBackend } from './libraries.js'

/** The verdict on one device. */
export interface Verdict extends Omit<NativeDevice, 'backend'> {
  /** Why it cannot be used; empty if it can. */
  reason: string
}

/** The verdicts on a backend. */
export interface Examination {
  devices: Verdict[]
  /** Why none of its devices can be used; empty otherwise. */
  problem: string
}

/** Messages of the child, in this order. */
export type Report =
  | { devices: NativeDevice[] }
  | { testing: string }
  | { tested: string; passed: boolean; error?: number; problem?: string }
  | { failed: string }

/** A driver may have to compile its programs first. */
const timeLimit = 300_000

/** A device on which the child died is left out of the next. */
export async function examine(library: string, backend: GpuBackend): Promise<Examination> {
  const problem = whyNoProcess('preflight')
  if (problem) return { devices: [], problem }
  let devices: NativeDevice[] = []
  const reasons = new Map<string, string>()
  for (;;) {
    const { reports, end } = await runChild([library, backend, ...reasons.keys()])
    let testing = ''
    for (const report of reports) {
      if ('devices' in report) devices = report.devices
      if ('testing' in report) testing = report.testing
      if ('failed' in report) return { devices: [], problem: withAdvice(report.failed) }
      if ('tested' in report) {
        reasons.set(report.tested, reasonOf(report))
        testing = ''
      }
    }
    if (testing) reasons.set(testing, `its driver ${end}`)
    else if (end) return { devices: [], problem: `its driver ${end}` }
    if (!testing) break
  }
  if (devices.length === 0) return { devices: [], problem: 'its driver has no device for it' }
  return {
    devices: devices.map((device) => ({ ...device, reason: reasons.get(device.id) ?? '' })),
    problem: '',
  }
}

/** cuBLAS is not part of the driver. */
function withAdvice(problem: string): string {
  const isCublas = /(lib)?cublas/i.test(problem)
  return isCublas ? `${problem}; install cuBLAS of that version, a part of CUDA` : problem
}

function reasonOf({ passed, error, problem }: Extract<Report, { tested: string }>): string {
  if (problem) return problem
  if (passed) return ''
  return error === undefined || !Number.isFinite(error)
    ? 'it computes NaN or infinite values'
    : `it computes wrongly: its results are ${(100 * error).toPrecision(2)} % off`
}

interface Ended {
  reports: Report[]
  /** How it ended; empty if well. */
  end: string
}

function runChild(args: string[]): Promise<Ended> {
  let child: ChildProcess
  try {
    child = startProgram('preflight', path.join(__dirname, 'preflight-child.js'), args, {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
  } catch (error) {
    return Promise.resolve({ reports: [], end: `could not be tried: ${messageOf(error)}` })
  }
  const reports: Report[] = []
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, timeLimit)
  return new Promise((resolve) => {
    const done = (end: string) => {
      clearTimeout(timer)
      resolve({ reports, end })
    }
    child.on('message', (report: Report) => reports.push(report))
    child.once('error', (error) => done(`could not be tried: ${error.message}`))
    child.once('close', (code, signal) => {
      if (late) done(`did not answer within ${timeLimit / 1000} s`)
      else if (signal) done(`crashed (${signal})`)
      else done(code === 0 ? '' : `ended the process (exit code ${code})`)
    })
  })
}
