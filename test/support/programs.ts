/** Programs of their own, for what cannot be tried inside of the test runner: ends and crashes. */
import { spawn } from 'node:child_process'

import { packageRoot } from './package-root.js'
import { tinyHeads, tinyModel } from './models.js'

/** How tests of life cycles load the tiny model. */
export async function tinyOptions() {
  const threads = 1 // more threads than free cores would wait for each other
  return { model: await tinyModel(), config: tinyHeads, precision: 'f32', threads } as const
}

/** A request of few steps, without a picture to read. */
export const smallRequest = {
  layout: { prompt: 'a hill' },
  content: 'a photo of a coffee machine',
  width: 64,
  height: 64,
  steps: 4,
  seed: 42,
}

/** JavaScript (CommonJS) with `MagicMix`, `options` and `request` at hand. */
export async function programOf(body: string): Promise<string> {
  const constants = { options: await tinyOptions(), request: smallRequest }
  return `
    const { MagicMix } = require(${JSON.stringify(packageRoot)})
    const { options, request } = ${JSON.stringify(constants)}
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
    ${body}`
}

export interface Ended {
  code: number | null
  /** null unless a signal ended it, as a crash does */
  signal: string | null
  stdout: string
  stderr: string
}

/** Runs a program in a process of its own, to its end. */
export async function runProgram(body: string, flags: string[] = []): Promise<Ended> {
  return runNode([...flags, '-e', await programOf(body)], packageRoot)
}

/** Runs `node` with these arguments in `folder`, to its end. */
export function runNode(args: string[], folder: string): Promise<Ended> {
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** What a program that went well leaves behind. */
export function wellEnded(stdout: string): Ended {
  return { code: 0, signal: null, stdout: `${stdout}\n`, stderr: '' }
}
