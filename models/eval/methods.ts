/**
 * MagicMix beside the methods that mix two prompts: every layout of the pairs with every content, from prompts,
 * judged by what of both is left.
 *
 *     npx tsx models/eval/methods.ts [--seeds 1] [--contents 8] [--steps 50] [--only TEXT]... [--sheet FILE]
 */
import { parseArgs } from 'node:util'

import { MagicMix, type Method, type MixRequest, type Picture } from 'magicmix'
import sharp from 'sharp'

import { drawSheet } from '../../dist/sweep/draw-sheet.js'
import { mean, pairs, photoOf } from './measure.js'
import { Classifier, type Concept, concepts, overlap, silhouette } from './metrics.js'

/** The rows of the table; the first of a method has its default numbers. */
const variants: Readonly<Record<string, Partial<MixRequest>>> = {
  'magicmix nu 0.9': {},
  'magicmix nu 0.7': { nu: 0.7 },
  'magicmix nu 0.9, kMin 0.1, kMax 0.5': { kMin: 0.1, kMax: 0.5 },
  'magicmix nu 0.7, kMin 0.1, kMax 0.5': { kMin: 0.1, kMax: 0.5, nu: 0.7 },
  'magicmix nu 0.9, kMax 0.7': { kMax: 0.7 },
  'magicmix nu 0.9, kMax 0.8': { kMax: 0.8 },
  'magicmix nu 0.7, kMax 0.8': { kMax: 0.8, nu: 0.7 },
  'magicmix nu 0.9, kMin 0.5, kMax 0.8': { kMin: 0.5, kMax: 0.8 },
  'interpolate 0.5': by('interpolate'),
  'interpolate 0.4': by({ name: 'interpolate', weight: 0.4 }),
  'interpolate 0.6': by({ name: 'interpolate', weight: 0.6 }),
  'switch 0.5': by('switch'),
  'switch 0.4': by({ name: 'switch', at: 0.4 }),
  'switch 0.6': by({ name: 'switch', at: 0.6 }),
  'switch 0.7': by({ name: 'switch', at: 0.7 }),
  'alternate 2': by('alternate'),
  'alternate 3': by({ name: 'alternate', every: 3 }),
  split: by('split'),
  'swap 0.5': by('swap'),
  'swap 0.6': by({ name: 'swap', columns: 0.6 }),
  'swap 0.7': by({ name: 'swap', columns: 0.7 }),
  // To compare with: the least that a shape has in common with another.
  'content alone': by({ name: 'switch', at: 1 }),
}
function by(method: Method): Partial<MixRequest> {
  return { method }
}

interface Task {
  layout: Concept
  content: Concept
  seed: number
}

/** What is left of both in one picture. */
interface Outcome extends Task {
  /** How likely the judge finds the content, and the layout. */
  score: number
  layoutScore: number
  /** The content is what the judge names. */
  named: number
  /** Of the silhouette with that of the layout's prompt alone, on the same seed. */
  overlap: number
  /** The content by its name and most of the layout's silhouette. */
  both: number
  /** Harmonic mean of score and overlap. */
  balance: number
}
type Figure = Exclude<keyof Outcome, keyof Task>

/** Less of it is another shape (as in test/world.slow.test.ts). */
const sameShape = 0.65

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1' },
      contents: { type: 'string', default: `${pairs.length}` },
      steps: { type: 'string', default: '50' },
      only: { type: 'string', multiple: true, default: [] },
      sheet: { type: 'string' },
    },
  })
  await using mixer = await MagicMix.load({ threads: 1 })
  const steps = Number(values.steps)
  if (values.sheet !== undefined) {
    await drawMethods(mixer, steps, values.sheet)
    return
  }

  const names = Object.keys(variants).filter(
    (name) => values.only.length === 0 || values.only.some((text) => name.includes(text)),
  )
  const tasks = tasksOf(Number(values.seeds), Number(values.contents))
  const judge = Classifier.load()
  const outcomes = new Map<string, Outcome[]>(names.map((name) => [name, []]))
  for (const task of tasks) {
    const alone = silhouette(await mixer.mix({ ...requestOf(task, steps), method: layoutAlone }))
    for (const name of names) {
      const mix = await mixer.mix({ ...requestOf(task, steps), ...variants[name] })
      outcomes.get(name)!.push(judged(task, mix, alone, judge))
    }
  }
  console.log(`${tasks.length} mixes a row, ${steps} steps\n\n${tableOf(outcomes)}`)
  console.log(
    `\nThe best of each layout and of each content, by both and then by balance\n\n${winnersOf(outcomes)}`,
  )
}

const layoutAlone: Method = { name: 'switch', at: 0 }
const contentAlone: Method = { name: 'switch', at: 1 }

function requestOf({ layout, content, seed }: Task, steps: number) {
  return { layout: { prompt: photoOf(layout) }, content: photoOf(content), steps, seed }
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

function judged(task: Task, mix: Picture, alone: Uint8Array, judge: Classifier): Outcome {
  const likely = judge.probabilities(mix)
  const of = (concept: Concept) => likely[concepts.indexOf(concept)]!
  const score = of(task.content)
  const named = Number(score === Math.max(...likely))
  const shape = overlap(alone, silhouette(mix))
  return {
    ...task,
    score,
    layoutScore: of(task.layout),
    named,
    overlap: shape,
    both: named * Number(shape >= sameShape),
    balance: score + shape > 0 ? (2 * score * shape) / (score + shape) : 0,
  }
}

const meanOf = (outcomes: readonly Outcome[], figure: Figure) =>
  mean(outcomes.map((outcome) => outcome[figure]))

const percent = (share: number) => `${(100 * share).toFixed(1)}%`

function tableOf(outcomes: ReadonlyMap<string, Outcome[]>): string {
  const header = ['method', 'content named', 'score', 'layout score', 'overlap', 'both', 'balance']
  const rows = [...outcomes].map(([name, made]) => [
    name,
    percent(meanOf(made, 'named')),
    meanOf(made, 'score').toFixed(3),
    meanOf(made, 'layoutScore').toFixed(3),
    meanOf(made, 'overlap').toFixed(3),
    percent(meanOf(made, 'both')),
    meanOf(made, 'balance').toFixed(3),
  ])
  return markdown([header, ...rows])
}

/** Which variant of each method is best, and which method. */
function winnersOf(outcomes: ReadonlyMap<string, Outcome[]>): string {
  const rows = (['layout', 'content'] as const).flatMap((side) => {
    const all = [...new Set(pairs.map(([layout, content]) => ({ layout, content })[side]))]
    return all.map((concept) => {
      const ranked = [...outcomes]
        .map(([name, made]) => {
          const own = made.filter((outcome) => outcome[side] === concept)
          const of = (figure: Figure) => (own.length > 0 ? meanOf(own, figure) : NaN)
          return { name, both: of('both'), balance: of('balance') }
        })
        .sort((a, b) => b.both - a.both || b.balance - a.balance)
      const ofMagicMix = ranked.find(({ name }) => name.startsWith('magicmix'))
      const other = ranked.find(({ name }) => !/^(magicmix|content)/.test(name))
      const shown = (row?: { name: string; both: number }) =>
        row ? `${row.name}: ${percent(row.both)}` : ''
      return [side, concept, shown(ofMagicMix), shown(other)]
    })
  })
  return markdown([['side', 'concept', 'best of MagicMix', 'best of the others'], ...rows])
}

function markdown(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  const [header, ...others] = rows
  return [line(header!), line(widths.map((width) => '-'.repeat(width))), ...others.map(line)].join(
    '\n',
  )
}

/** The pairs of the tests by every method with its default numbers, beside their prompts alone. */
async function drawMethods(mixer: MagicMix, steps: number, file: string): Promise<void> {
  const methods: [label: string, method: Method][] = [
    ['layout alone', layoutAlone],
    ...(['magicmix', 'interpolate', 'switch', 'alternate', 'split', 'swap'] as const).map(
      (method): [string, Method] => [method, method],
    ),
    ['content alone', contentAlone],
  ]
  const rows = []
  for (const [layout, content] of pairs) {
    const comparison = mixer.compare(requestOf({ layout, content, seed: 0 }, steps), {
      methods: methods.map(([, method]) => method),
    })
    for await (const cell of comparison) void cell
    const pictures = comparison.finished.map(({ mix }) => mix)
    rows.push({ label: `${layout}\n+ ${content}`, pictures })
  }
  const { data, width, height } = await drawSheet({
    title: 'Two prompts, mixed by every method',
    about: [`default numbers, ${steps} steps, seed 0; pairs and seed were fixed before looking`],
    columns: methods.map(([label]) => label),
    rows,
  })
  const raw = { width, height, channels: 3 } as const
  await sharp(data, { raw }).png({ palette: true, quality: 90 }).toFile(file)
}

void main()
