/** Programs of the package that run in processes of their own. */
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process'
import { createRequire } from 'node:module'

import { messageOf } from './errors.js'

/**
 * A variable that tells a process what it is. A single executable runs its own program whatever it is
 * told to: as its own child it would begin anew, and have a child in turn, without end. What is not
 * recognised as one is stopped by the variable, one generation later.
 */
export const processMarks = {
  preflight: 'MAGICMIX_PREFLIGHT',
  isolated: 'MAGICMIX_ISOLATED',
} as const

/** Why no program can be started for this purpose; empty if one can. */
export function whyNoProcess(purpose: keyof typeof processMarks): string {
  const { env } = process
  if (env[processMarks.preflight]) return 'this process is itself the test of a device'
  if (purpose === 'isolated' && env[processMarks.isolated]) {
    return 'this process is itself that of an isolated mixer'
  }
  return isSingleExecutable() ? 'a single executable has no other program to run' : ''
}

/**
 * Starts a program of the package, whatever flags this process was started with.
 *
 * @throws an Error that says why there can be none
 */
export function startProgram(
  purpose: keyof typeof processMarks,
  file: string,
  args: string[],
  options: Pick<ForkOptions, 'stdio' | 'serialization'>,
): ChildProcess {
  const { NODE_OPTIONS: _, ...environment } = process.env
  const env = { ...environment, ELECTRON_RUN_AS_NODE: '1', [processMarks[purpose]]: '1' }
  try {
    return fork(file, args, { ...options, execArgv: [], env })
  } catch (error) {
    throw new Error(whyRefused(error), { cause: error })
  }
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

/** Node's permission model says what it refuses, but not how to allow it. */
function whyRefused(error: unknown): string {
  const { code, permission } = error as { code?: string; permission?: string }
  if (code !== 'ERR_ACCESS_DENIED') return messageOf(error)
  return `Node's permission model refuses ${permission ?? 'it'} (--allow-child-process)`
}
