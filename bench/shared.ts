/**
 * What a step takes on a machine that is shared, as a ratio to the quiet machine.
 *
 *     npm run bench:shared -- [--seconds 8] [--size 256x256] [--model FOLDER] [--json]
 *
 * The model in the package, its steps one after the other: alone, with one busy process for each
 * core, in two processes at once, confined to one core by affinity and by a quota, and with three
 * mixers in one process. `of a fair share` is the ratio divided by how many would have to share a core if the
 * system divided it evenly. Affinity needs `taskset`; the quota needs cgroups that can be made here
 * (root). What cannot be had is said.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

import { MagicMix } from 'magicmix'

import { packageRoot } from '../test/support/package-root.js'
import { machine } from './machine.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    size: { type: 'string', default: '256x256' },
    model: { type: 'string', default: path.join(packageRoot, 'models', 'world-128') },
    threads: { type: 'string' },
    json: { type: 'boolean', default: false },
    measured: { type: 'boolean', default: false }, // a process that is measured
    mixers: { type: 'string', default: '1' },
  },
})

interface Row {
  what: string
  /** ms; absent where it could not be measured, with the reason. */
  step?: number
  ratio?: number
  ofFairShare?: number
  target?: number
  reason?: string
}

async function main(): Promise<void> {
  const load = loadavg()[0] ?? 0
  const cores = availableParallelism()
  const [alone = NaN] = await measure([{}])
  const [oneThread = NaN] = await measure([{ threads: 1 }])
  const rows: Row[] = [
    { what: `alone, ${cores} threads`, step: alone, ratio: 1 },
    { what: 'alone, 1 thread', step: oneThread, ratio: oneThread / alone },
  ]
  const add = (what: string, step: number, quiet: number, sharers: number, target: number) => {
    const ratio = step / quiet
    rows.push({ what, step, ratio, ofFairShare: ratio / sharers, target })
  }

  const hogs = Array.from({ length: cores }, () => spawn(process.execPath, ['-e', 'for (;;);']))
  add('one busy neighbour per core', mean(await measure([{}])), alone, 2, 1.25)
  for (const hog of hogs) hog.kill('SIGKILL')

  add('two processes', mean(await measure([{}, {}])), alone, 2, 1.25)
  add('three mixers in a process', mean(await measure([{ mixers: 3 }])), alone, 3, 1.25)

  try {
    const confined = await measure([{ prefix: ['taskset', '-c', '0'] }])
    add('a cpuset of one core, of 1 thread', mean(confined), oneThread, 1, 1.1)
  } catch (error) {
    rows.push({ what: 'a cpuset of one core', reason: String(error) })
  }
  try {
    const confined = await withQuotaOfOneCore((join) => measure([{ join }]))
    add('a quota of one core, of 1 thread', mean(confined), oneThread, 1, 1.25)
  } catch (error) {
    rows.push({ what: 'a quota of one core', reason: String(error) })
  }

  if (values.json) {
    console.log(JSON.stringify({ machine: machine(), load, size: values.size, rows }))
    return
  }
  console.log(`${machine()}, load before ${load.toFixed(1)}, ${values.size}`)
  for (const { what, step, ratio, ofFairShare, target, reason } of rows) {
    const figures =
      reason ??
      `${number(step).padStart(7)} ms a step  x ${number(ratio)}` +
        (target === undefined ? '' : `  of a fair share ${number(ofFairShare)} (target ${target})`)
    console.log(`${what.padEnd(36)}${figures}`)
  }
}

const number = (n = NaN) => n.toFixed(n < 10 ? 2 : 0)
const mean = (all: number[]) => all.reduce((a, b) => a + b, 0) / all.length

interface Measured {
  threads?: number
  mixers?: number
  /** What starts it. */
  prefix?: string[]
  /** Called with the process's id before it loads anything. */
  join?: (pid: number) => void
}

/** Milliseconds of a step in processes that begin to mix at the same time. */
async function measure(processes: Measured[]): Promise<number[]> {
  const running = processes.map((options) => new MeasuredProcess(options))
  await Promise.all(running.map((each) => each.says('ready')))
  for (const each of running) each.tell('go')
  return Promise.all(running.map(async (each) => Number(await each.says('step'))))
}

class MeasuredProcess {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor({ threads, mixers = 1, prefix = [], join }: Measured) {
    const command = [
      ...prefix,
      process.execPath,
      ...process.execArgv,
      __filename,
      ...['--measured', '--mixers', String(mixers), '--seconds', values.seconds],
      ...['--size', values.size, '--model', values.model],
      ...(threads === undefined ? [] : ['--threads', String(threads)]),
    ]
    const [program = '', ...args] = command
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.on('error', () => undefined) // told by the missing line
    const { stdout, pid } = this.#child
    if (stdout === null) throw new Error('a process without output')
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]()
    if (join && pid !== undefined) join(pid)
    this.tell('load')
  }

  tell(word: string): void {
    this.#child.stdin?.on('error', () => undefined).write(`${word}\n`)
  }

  async says(word: string): Promise<string> {
    const line = await this.#lines.next()
    if (line.done || !line.value.startsWith(word)) throw new Error(`no '${word}' from a process`)
    return line.value.slice(word.length)
  }
}

/** In a cgroup of its own: version 2, or 1. */
async function withQuotaOfOneCore<T>(
  work: (join: (pid: number) => void) => Promise<T>,
): Promise<T> {
  const period = 100_000 // microseconds, the system's default
  const limits: [folder: string, file: string, limit: string][] = [
    ['/sys/fs/cgroup', 'cpu.max', `${period} ${period}`],
    ['/sys/fs/cgroup/cpu', 'cpu.cfs_quota_us', String(period)],
  ]
  let failure: unknown
  for (const [folder, file, limit] of limits) {
    const group = path.join(folder, `magicmix-bench-${process.pid}`)
    try {
      mkdirSync(group)
    } catch (error) {
      failure = error
      continue
    }
    try {
      writeFileSync(path.join(group, file), limit, { flag: 'r+' })
    } catch (error) {
      rmdirSync(group)
      failure = error
      continue
    }
    try {
      return await work((pid) => writeFileSync(path.join(group, 'cgroup.procs'), String(pid)))
    } finally {
      await new Promise((resolve) => setTimeout(resolve, 500)) // for the process to leave it
      rmdirSync(group)
    }
  }
  throw failure
}

/** A process that is measured: loads, waits to be told, and mixes for some seconds. */
async function beMeasured(): Promise<void> {
  const words = createInterface(process.stdin)[Symbol.asyncIterator]()
  await words.next() // by now it is where it belongs
  const [width = NaN, height = width] = values.size.split('x').map(Number)
  const threads = values.threads === undefined ? {} : { threads: Number(values.threads) }
  const count = Number(values.mixers)
  const mixers = await Promise.all(
    Array.from({ length: count }, () =>
      MagicMix.load({ model: values.model, precision: 'f32', ...threads }),
    ),
  )
  const request = { layout: { prompt: 'a red circle' }, content: 'a blue square', width, height }
  for (const mixer of mixers) await mixer.mix({ ...request, steps: 2 })
  console.log('ready')
  await words.next()

  const end = performance.now() + Number(values.seconds) * 1000
  const each = await Promise.all(mixers.map((mixer) => stepsUntil(end, mixer, request)))
  console.log(`step ${mean(each)}`)
  process.exit()
}

/** The mean time between two steps of one mix; of one mix at least. */
async function stepsUntil(
  end: number,
  mixer: MagicMix,
  request: Parameters<MagicMix['mix']>[0],
): Promise<number> {
  let steps = 0
  let total = 0
  do {
    let before: number | undefined
    await mixer.mix({
      ...request,
      steps: 50,
      onProgress: ({ stage }) => {
        if (stage !== 'content') return
        const now = performance.now()
        if (before !== undefined && (now < end || steps === 0)) {
          steps++
          total += now - before
        }
        before = now
      },
    })
  } while (performance.now() < end || steps === 0)
  return total / steps
}

void (values.measured ? beMeasured() : main())
