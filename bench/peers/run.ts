/**
 * The same work by magicmix, diffusers and stable-diffusion.cpp, one after the other on this machine:
 * encoding a picture, a step of the UNet with guidance, decoding, a whole mix, with the sizes of Stable
 * Diffusion 1.5 or XL.
 *
 *     npm run bench:peers -- --diffusers PYTHON --sdcpp DIR
 *         [--model sd15|sdxl] [--variants eager,channels-last,compile] [--sdcpp-args "--diffusion-fa"] [--size 512x512]
 *         [--device cpu] [--calls 5] [--threads 2] [--precision auto] [--whole] [--json] [--list]
 *
 * --diffusers: an interpreter of Python that has diffusers and torch. --sdcpp, or SDCPP_DIR: a checkout of
 * stable-diffusion.cpp that has been built. What is not given is left out; what is given and cannot be used is an
 * error. --device: cpu or cuda. --whole also runs whole mixes (30 calls), which takes minutes each; else their seconds are added up.
 * --list only says what would be run.
 */
import { availableParallelism, loadavg } from 'node:os'
import { parseArgs } from 'node:util'

import { fixture } from '../../test/support/package-root.js'
import { machine } from '../machine.js'
import { benchModel } from '../models.js'
import { type Peer, PeerMissing, type Times, type Work, diffusers, ours, sdcpp } from './peers.js'

const mixCalls = 30 // of 50 steps, with the default kMax

interface Row extends Times {
  name: string
  version: string
  /** Of the machine, when this was begun. */
  load: number
  /** Seconds of a whole mix: run, or added up. */
  mix: number | null
  problem?: string
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      diffusers: { type: 'string' },
      sdcpp: { type: 'string', default: process.env['SDCPP_DIR'] || undefined },
      variants: { type: 'string', default: 'eager,channels-last,compile' },
      'sdcpp-args': { type: 'string', default: '' },
      model: { type: 'string', default: 'sd15' },
      size: { type: 'string' },
      device: { type: 'string', default: 'cpu' },
      calls: { type: 'string', default: '5' },
      threads: { type: 'string', default: String(availableParallelism()) },
      precision: { type: 'string', default: 'auto' },
      whole: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  })
  const log = (text: string) => console.error(text)
  const peers: Peer[] = [ours(values.precision)]
  if (values.diffusers === undefined) log('diffusers is left out: give --diffusers PYTHON')
  else {
    for (const variant of values.variants.split(',')) {
      peers.push(await diffusers(values.diffusers, variant))
    }
  }
  if (values.sdcpp === undefined) {
    log('stable-diffusion.cpp is left out: give --sdcpp DIR, or set SDCPP_DIR')
  } else {
    peers.push(await sdcpp(values.sdcpp, values['sdcpp-args'].split(' ').filter(Boolean)))
  }
  if (values.list) {
    for (const { name, version } of peers) console.log(`${name}: ${version}`)
    return
  }

  const { file: model, side, sizes } = await benchModel(values.model)
  if (!sizes) throw new PeerMissing(`--model takes sd15 or sdxl, not '${values.model}'`)
  const size = values.size ?? `${side}x${side}`
  const [width = NaN, height = width] = size.split('x').map(Number)
  const work: Work = {
    ...{ model, family: sizes, picture: fixture('landscape256.png'), width, height },
    ...{ calls: Number(values.calls), threads: Number(values.threads) },
    device: values.device,
    whole: values.whole ? mixCalls : 0,
  }
  const rows: Row[] = []
  // Ours once more at the end: what the machine did meanwhile shows in the difference.
  for (const peer of peers.length > 1 ? [...peers, peers[0]!] : peers) {
    log(`${peer.name} (${peer.version}), load ${rounded(loadavg()[0]!)} ...`)
    rows.push(await measured(peer, work))
  }
  const result = {
    machine: machine(),
    date: new Date().toISOString(),
    ...{ size, threads: work.threads, calls: work.calls, whole: values.whole, rows },
  }
  if (values.json) console.log(JSON.stringify(result))
  else print(result)
}

/** One that fails on the way is a row that says so: the others go on. */
async function measured(peer: Peer, work: Work): Promise<Row> {
  const { name, version } = peer
  const about = { name, version, load: loadavg()[0] ?? NaN }
  try {
    const times = await peer.measure(work)
    const { encode, step, decode, whole } = times
    const sum = encode === null || decode === null ? null : encode + mixCalls * step + decode
    return { ...about, ...times, mix: whole ?? sum }
  } catch (error) {
    const problem = (error as Error).message
    return { ...about, encode: null, step: NaN, decode: null, whole: null, mix: null, problem }
  }
}

function print(result: {
  machine: string
  date: string
  size: string
  threads: number
  calls: number
  whole: boolean
  rows: Row[]
}): void {
  const { rows } = result
  console.log(
    `${result.machine}, ${result.date}; ${result.size}, ${result.threads} threads, ` +
      `median of ${result.calls} calls without the first\n`,
  )
  const first = rows[0]!
  const seconds = (value: number | null, ours: number | null, isOurs: boolean) => {
    if (value === null || Number.isNaN(value)) return '-'
    const ratio = isOurs || !ours ? '' : ` (${(value / ours).toFixed(2)} x)`
    return `${value.toFixed(2)} s${ratio}`
  }
  const mix = result.whole ? 'whole mix, run' : `encode + ${mixCalls} steps + decode`
  const lines = [['', 'encode', 'step', 'decode', mix, 'load', 'version']]
  for (const row of rows) {
    const isOurs = row.name === first.name
    const cells = (['encode', 'step', 'decode', 'mix'] as const).map((what) =>
      seconds(row[what], first[what], isOurs),
    )
    lines.push([row.name, ...cells, row.load.toFixed(1), row.version])
  }
  const widths = lines[0]!.map((_, column) =>
    Math.max(...lines.map((line) => line[column]!.length)),
  )
  const text = (line: string[]) =>
    `| ${line.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  console.log(text(lines[0]!))
  console.log(text(widths.map((width) => '-'.repeat(width))))
  for (const line of lines.slice(1)) console.log(text(line))
  for (const { name, problem } of rows) if (problem) console.log(`\n${name} failed: ${problem}`)
}

function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

main().catch((error: unknown) => {
  if (!(error instanceof PeerMissing)) throw error
  console.error(`bench:peers: ${error.message}`)
  process.exitCode = 2
})
