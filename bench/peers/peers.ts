/** The programs that magicmix is compared with: where they are, their versions, and how they are run. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { packageRoot } from '../../test/support/package-root.js'
import type { Result as OurResult } from '../mix.js'

/** The same for everyone. */
export interface Work {
  /** The file with formula weights. */
  model: string
  /** The sizes that it has. */
  family: 'sd15' | 'sdxl'
  /** PNG of the layout. */
  picture: string
  width: number
  height: number
  /** Calls of the UNet, of which the first does not count. */
  calls: number
  threads: number
  /** 'cpu', or a GPU as both name it: 'cuda'. stable-diffusion.cpp computes where it was built for. */
  device: string
  /** Calls of a whole mix, which is then run as well; 0: it is not. */
  whole: number
}

/** Seconds; null where the program does not tell. */
export interface Times {
  encode: number | null
  step: number
  decode: number | null
  /** Of a whole mix that was run. */
  whole: number | null
}

export interface Peer {
  name: string
  version: string
  measure(work: Work): Promise<Times>
}

/** A peer that was asked for and cannot be used, with the reason. */
export class PeerMissing extends Error {}

// -------------------------------------------------------------------------------------------------
// magicmix

export function ours(precision: string): Peer {
  const { version } = JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
  }
  return {
    name: 'magicmix',
    version: `${version}, ${precision}`,
    measure: async (work) => {
      const few = await mixOf(work, work.calls, precision)
      const whole = work.whole > 0 ? await mixOf(work, work.whole, precision) : undefined
      return {
        encode: few.encodeSeconds,
        step: few.medianStepSeconds,
        decode: few.decodeSeconds,
        whole: whole?.totalSeconds ?? null,
      }
    },
  }
}

async function mixOf(work: Work, steps: number, precision: string): Promise<OurResult> {
  const { model, width, height, threads, device } = work
  const { stdout } = await run(process.execPath, [
    ...['--import', 'tsx', path.join(packageRoot, 'bench', 'mix.ts'), '--json'],
    ...['--model', model, '--size', `${width}x${height}`, '--threads', String(threads)],
    ...['--steps', String(steps), '--precision', precision, '--device', device],
  ])
  return JSON.parse(stdout) as OurResult
}

// -------------------------------------------------------------------------------------------------
// diffusers

const script = path.join(__dirname, 'diffusers_peer.py')

/** Ways of running diffusers, and what the script calls them. */
const diffusersVariants: Readonly<Record<string, readonly string[]>> = {
  eager: [],
  'channels-last': ['--channels-last'],
  compile: ['--channels-last', '--compile'],
}

/** @param python an interpreter that has diffusers and torch */
export async function diffusers(python: string, variant: string): Promise<Peer> {
  const flags = diffusersVariants[variant]
  if (flags === undefined) {
    throw new PeerMissing(
      `there is no variant '${variant}' of diffusers; there are ${Object.keys(diffusersVariants).join(', ')}`,
    )
  }
  const versions = await lastJson<{ diffusers: string; torch: string }>(python, [
    script,
    '--versions',
  ]).catch((error: unknown) => {
    throw new PeerMissing(
      `'${python}' (--diffusers) does not run diffusers: ${(error as Error).message}`,
    )
  })
  return {
    name: `diffusers, ${variant}`,
    version: `${versions.diffusers}, torch ${versions.torch}, bf16`,
    measure: ({ model, family, width, height, calls, threads, whole, device }) =>
      lastJson<Times>(python, [
        ...[script, '--model', model, '--size', `${width}x${height}`, '--calls', String(calls)],
        ...['--device', device],
        ...['--family', family, '--threads', String(threads), '--whole', String(whole), ...flags],
      ]),
  }
}

async function lastJson<T>(program: string, args: string[]): Promise<T> {
  const { stdout } = await run(program, args)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T
}

// -------------------------------------------------------------------------------------------------
// stable-diffusion.cpp

/** Where a build puts the program, newest first. */
const programs = ['build/bin/sd-cli', 'build/bin/sd', 'bin/sd-cli', 'bin/sd', 'sd-cli', 'sd']

/** @param folder a checkout that has been built; `more` goes to the program as it is */
export async function sdcpp(folder: string, more: readonly string[]): Promise<Peer> {
  const program = programs.map((name) => path.join(folder, name)).find((file) => existsSync(file))
  if (program === undefined) {
    throw new PeerMissing(
      `'${folder}' (--sdcpp) has no built stable-diffusion.cpp: none of ${programs.join(', ')} is there`,
    )
  }
  const { stdout } = await run(program, ['--version']).catch((error: unknown) => {
    throw new PeerMissing(`'${program}' (--sdcpp) does not run: ${(error as Error).message}`)
  })
  const version = stdout.trim().split('\n')[0] ?? ''
  return {
    name: 'stable-diffusion.cpp',
    version: [version.replace(/^stable-diffusion\.cpp (version )?/, ''), ...more].join(' '),
    measure: async (work) => {
      const few = await sdcppTimes(program, work, work.calls, more)
      const whole = work.whole > 0 ? await sdcppTimes(program, work, work.whole, more) : undefined
      return { ...few, whole: whole?.whole ?? null }
    },
  }
}

async function sdcppTimes(
  program: string,
  { model, picture, width, height, threads }: Work,
  calls: number,
  more: readonly string[],
): Promise<Times> {
  // Of twice as many steps half are run.
  const steps = ['--steps', String(2 * calls), '--strength', '0.5', '--cfg-scale', '7.5']
  const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-peers-'))
  try {
    const { stdout } = await run(program, [
      ...['-M', 'img_gen', '-m', model, '-i', picture, '-p', 'a photo of a corgi', '-s', '42'],
      ...['-W', String(width), '-H', String(height), '-t', String(threads), ...steps],
      ...['--sampling-method', 'euler', '-o', path.join(folder, 'picture.png'), ...more],
    ])
    return sdcppLog(stdout)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Seconds from what it prints while it works. */
export function sdcppLog(log: string): Times {
  const taken = (what: string) => {
    const found = new RegExp(`${what}[^\\n]*?(?:taking|in) ([\\d.]+) ?(ms|s)`).exec(log)
    return found ? Number(found[1]) / (found[2] === 'ms' ? 1000 : 1) : null
  }
  const steps = [...log.matchAll(/\d+\/\d+ - ([\d.]+)(s\/it|it\/s)/g)].map(([, number, unit]) =>
    unit === 's/it' ? Number(number) : 1 / Number(number),
  )
  if (steps.length === 0) {
    throw new Error(`stable-diffusion.cpp printed no step:\n${log.slice(-2000)}`)
  }
  return {
    encode: taken('encode_first_stage completed'),
    step: median(steps.slice(steps.length > 1 ? 1 : 0)),
    decode: taken('decode_first_stage completed'),
    whole: taken('generate_image completed'),
  }
}

// -------------------------------------------------------------------------------------------------

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}

/** Runs a program to its end; one that fails is an error with the end of what it printed. */
function run(program: string, args: string[]): Promise<{ stdout: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve({ stdout })
      else {
        const last = `${stdout}\n${stderr}`.trim().slice(-1000)
        reject(new Error(`it ended with ${signal ?? `exit code ${code}`}: ${last}`))
      }
    })
  })
}
