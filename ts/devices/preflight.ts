/** Lists and tests the devices of a backend in a separate process. */
import { type ChildProcess, fork } from 'node:child_process'
import { createRequire } from 'node:module'
import path from 'node:path'

import { messageOf } from '../errors.js'
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
  const problem = whyNoChild()
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

/**
 * A single executable runs its own program whatever it is told to: as its own child it would load a
 * model, and have a child in turn, without end. What is not recognised as one is stopped by the
 * variable, one generation later.
 */
export function whyNoChild(): string {
  if (process.env[childMark]) return 'this process is itself the test of a device'
  return isSingleExecutable() ? 'a single executable has no other program to run' : ''
}

function isSingleExecutable(): boolean {
  if ('pkg' in process) return true
  // of `bun build --compile`
  if (/^(\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/.test(__filename)) return true
  try {
    return (createRequire(__filename)('node:sea') as { isSea(): boolean }).isSea()
  } catch {
    return false // this version of Node makes none
  }
}

/** Tells a child that it is one. */
const childMark = 'MAGICMIX_PREFLIGHT'

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

/** Node's permission model says what it refuses, but not how to allow it. */
function whyRefused(error: unknown): string {
  const { code, permission } = error as { code?: string; permission?: string }
  if (code !== 'ERR_ACCESS_DENIED') return messageOf(error)
  return `Node's permission model refuses ${permission ?? 'it'} (--allow-child-process)`
}

interface Ended {
  reports: Report[]
  /** How it ended; empty if well. */
  end: string
}

function runChild(args: string[]): Promise<Ended> {
  const { NODE_OPTIONS: _, ...environment } = process.env
  let child: ChildProcess
  try {
    child = fork(path.join(__dirname, 'preflight-child.js'), args, {
      execArgv: [],
      env: { ...environment, ELECTRON_RUN_AS_NODE: '1', [childMark]: '1' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
  } catch (error) {
    return Promise.resolve({ reports: [], end: `could not be tried: ${whyRefused(error)}` })
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
