/**
 * What fewer or cheaper steps cost: every layout of the pairs mixed with every content, by variants of
 * the request, beside the default.
 *
 *     npx tsx models/eval/few_steps.ts FOLDER [--only TEXT]... [--seeds 3] [--contents 8] [--mixers 1]
 *
 * Pictures and seconds are kept in FOLDER as they are made, so a run that was stopped goes on, and another
 * with more seeds or variants makes only what is missing. A row of {@link variants} that is changed
 * needs another name, or its folder deleted.
 */
import { appendFile, mkdir, readFile, rename } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { type LoadOptions, MagicMix, type MixRequest, type Picture, type UnetCalls } from 'magicmix'

import { decoded, layoutOf, mean, pairs, photoOf } from './measure.js'
import { Classifier, type Concept, concepts, overlap, psnr, silhouette, ssim } from './metrics.js'

/** What differs from the default. */
export interface Variant {
  request?: Partial<MixRequest>
  load?: Partial<LoadOptions>
}

const lcmLora = path.join(__dirname, '..', 'world-128-lcm', 'pytorch_lora_weights.safetensors')

const by = (request: Partial<MixRequest>): Variant => ({ request })
/** With the LoRA for few steps, and without guidance unless it is given. */
const lcm = (request: Partial<MixRequest>): Variant =>
  by({ sampler: 'lcm', guidanceScale: 1, loras: [{ file: lcmLora }], ...request })
/** From t = 639 of lcm, where the default begins at 581. */
const eight = { steps: 8, kMax: 0.625, kMin: 0.25 } as const

/** The rows of the table. The first is what the others are compared with. */
export const variants: Readonly<Record<string, Variant>> = {
  'ddim 50': {},
  'ddim 25': by({ steps: 25 }),
  'ddim 10': by({ steps: 10 }),
  'ddim 8': by(eight),
  'ddim 5': by({ steps: 5, kMin: 0.2 }),
  'fast: safe': by({ fast: 'safe' }),
  'fast: max': by({ fast: 'max' }),
  'euler 10': by({ sampler: 'euler', steps: 10 }),
  'dpm++2m 10': by({ sampler: 'dpm++2m', steps: 10 }),
  'dpm++2m karras 10': by({ sampler: 'dpm++2m', spacing: 'karras', steps: 10 }),
  'lcm 8 without the LoRA': lcm({ ...eight, loras: [] }),
  'lcm 4, nu 0.5': lcm({ steps: 4, kMax: 0.75, kMin: 0.25, nu: 0.5 }),
  'lcm 4, nu 0.9': lcm({ steps: 4, kMax: 0.75, kMin: 0.25 }),
  'lcm 5, nu 0.9': lcm({ steps: 5, kMin: 0.2 }),
  'lcm 8, nu 0.7': lcm({ ...eight, nu: 0.7 }),
  'lcm 8, nu 0.9': lcm(eight),
  'lcm 8, kMax 0.5, kMin 0, nu 0.9': lcm({ steps: 8, kMax: 0.5, kMin: 0 }),
  'lcm 8, nu 0.5, guided 1.5': lcm({ ...eight, nu: 0.5, guidanceScale: 1.5 }),
  'lcm 10, nu 0.7': lcm({ steps: 10, nu: 0.7 }),
  'lcm 12, nu 0.7': lcm({ steps: 12, nu: 0.7 }),
  'tcd 8, nu 0.9': lcm({ ...eight, sampler: 'tcd' }),
}

interface Task {
  layout: Concept
  content: Concept
  seed: number
}

interface Made extends Task {
  seconds: number
  /** Of the UNet; guidance makes two of a step. */
  calls: number
}

interface Row extends Outcome {
  name: string
}

interface Outcome {
  named: number
  score: number
  overlap: number
  psnr: number
  ssim: number
  calls: number
  seconds: number
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      seeds: { type: 'string', default: '3' },
      contents: { type: 'string', default: `${pairs.length}` },
      mixers: { type: 'string', default: '1' },
    },
  })
  const folder = positionals[0]
  if (folder === undefined) throw new Error('say in which folder the pictures shall be kept')
  const tasks = tasksOf(Number(values.seeds), Number(values.contents))
  const [reference, ...others] = Object.keys(variants)
  const chosen = others.filter(
    (name) => values.only.length === 0 || values.only.some((text) => name.includes(text)),
  )

  const studio = new Studio(folder, Number(values.mixers))
  const rows: Row[] = []
  for (const name of [reference!, ...chosen]) {
    await studio.make(name, tasks)
    rows.push({ name, ...(await studio.judged(name, reference!, tasks)) })
    console.log(name)
  }
  console.log(`\n${tasks.length} mixes a row\n\n${table(rows)}`)
}

/** Every layout with every content: those of the pairs first. */
function tasksOf(seeds: number, contents: number): Task[] {
  return Array.from({ length: seeds }, (_, seed) =>
    pairs.flatMap(([layout], row) =>
      Array.from({ length: contents }, (_, shift) => {
        const [, content] = pairs[(row + shift) % pairs.length]!
        return { layout, content, seed }
      }),
    ),
  ).flat()
}

/** Makes and keeps the pictures of variants. */
class Studio {
  private readonly judge = Classifier.load()
  constructor(
    private readonly folder: string,
    private readonly mixers: number,
  ) {}

  /** Makes whatever is not there yet. */
  async make(name: string, tasks: readonly Task[]): Promise<void> {
    await mkdir(this.folderOf(name), { recursive: true })
    const made = new Set((await this.made(name)).map(fileOf))
    const missing = tasks.filter((task) => !made.has(fileOf(task)))
    if (missing.length === 0) return
    const { request, load } = variants[name]!
    // Nothing is kept from one mix to the next: every one shall take as long as it takes alone.
    const options = { threads: 1, cacheBytes: 0, ...load }
    const waiting = missing.values()
    const work = async () => {
      await using mixer = await MagicMix.load(options)
      for (const task of waiting) await this.mix(mixer, name, task, request ?? {})
    }
    await Promise.all(Array.from({ length: this.mixers }, work))
  }

  /** The means over `tasks`, compared with the pictures of another variant. */
  async judged(name: string, reference: string, tasks: readonly Task[]): Promise<Outcome> {
    const made = new Map((await this.made(name)).map((each) => [fileOf(each), each]))
    const outcomes: Outcome[] = []
    for (const task of tasks) {
      const mix = await this.picture(name, task)
      const standard = await this.picture(reference, task)
      const { seconds, calls } = made.get(fileOf(task))!
      const likely = this.judge.probabilities(mix)
      const score = likely[concepts.indexOf(task.content)]!
      outcomes.push({
        named: Number(score === Math.max(...likely)),
        score,
        overlap: overlap(await silhouetteOf(task.layout), silhouette(mix)),
        psnr: psnr(mix, standard),
        ssim: ssim(mix, standard),
        calls,
        seconds,
      })
    }
    const meanOf = (key: keyof Outcome) => mean(outcomes.map((outcome) => outcome[key]))
    return {
      named: meanOf('named'),
      score: meanOf('score'),
      overlap: meanOf('overlap'),
      psnr: meanOf('psnr'),
      ssim: meanOf('ssim'),
      calls: meanOf('calls'),
      seconds: median(outcomes.map(({ seconds }) => seconds)),
    }
  }

  private async mix(
    mixer: MagicMix,
    name: string,
    task: Task,
    change: Partial<MixRequest>,
  ): Promise<void> {
    const mix = await mixer.mix({
      layout: await layoutOf(task.layout),
      content: photoOf(task.content),
      seed: task.seed,
      ...change,
    })
    const file = path.join(this.folderOf(name), fileOf(task))
    await mix.toSharp().png().toFile(`${file}.part`)
    await rename(`${file}.part`, file)
    const calls = wholeCalls(mix.unetCalls)
    const line: Made = { ...task, seconds: mix.timings.total / 1000, calls }
    await appendFile(this.listOf(name), `${JSON.stringify(line)}\n`)
  }

  private async made(name: string): Promise<Made[]> {
    const text = await readFile(this.listOf(name), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const lines = text.split('\n').filter((line) => line !== '')
    return lines.map((line) => JSON.parse(line) as Made)
  }

  private async picture(name: string, task: Task): Promise<Picture> {
    return decoded(await readFile(path.join(this.folderOf(name), fileOf(task))))
  }

  private folderOf(name: string): string {
    return path.join(this.folder, name.replace(/[^\w.+-]+/g, '-'))
  }

  private listOf(name: string): string {
    return path.join(this.folderOf(name), 'made.jsonl')
  }
}

const fileOf = ({ layout, content, seed }: Task) =>
  `${layout}-${content.replace(' ', '_')}-${seed}.png`

/** Of the whole UNet, for one prompt each; those that a cache leaves are not counted. */
function wholeCalls({ full, cached, unguided }: UnetCalls): number {
  return (full / (full + cached)) * (2 * (full + cached) - unguided)
}

const silhouettes = new Map<Concept, Promise<Uint8Array>>()
function silhouetteOf(layout: Concept): Promise<Uint8Array> {
  const known = silhouettes.get(layout)
  if (known) return known
  const made = layoutOf(layout).then(decoded).then(silhouette)
  silhouettes.set(layout, made)
  return made
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

/** Markdown. */
function table(rows: readonly Row[]): string {
  const head = ['variant', 'top-1', 'score', 'IoU', 'PSNR', 'SSIM', 'UNet calls', 'seconds']
  const lines = rows.map((row) => [
    row.name,
    row.named.toFixed(3),
    row.score.toFixed(3),
    row.overlap.toFixed(3),
    Number.isFinite(row.psnr) ? row.psnr.toFixed(1) : '',
    row.ssim.toFixed(3),
    row.calls.toFixed(0),
    row.seconds.toFixed(2),
  ])
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

if (require.main === module) void main()
