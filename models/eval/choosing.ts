/**
 * What scores are worth: pairs of layout and content with every nu, their scores beside what the judge says, which
 * no score has seen; and how near to the best choice of nu one comes by scores.
 *
 *     npx tsx models/eval/choosing.ts FOLDER [--pairs 420] [--prompts 40] [--steps 25]
 *
 * Of the 420 pairs of two of the 21 concepts the first ones of an order that was shuffled once, each with a seed of its own.
 * Figures are kept in FOLDER as they come, so a run that was stopped goes on. The layouts are pictures that the model
 * makes from their names; with `--prompts` so many pairs are mixed from layout prompts too.
 */
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { MagicMix, type Mix, type MixRequest, type MixScore, type Picture } from 'magicmix'
import { indexOfBest } from '../../dist/request/score.js'

import { mean, photoOf, rankCorrelation } from './measure.js'
import { Classifier, type Concept, concepts, overlap, silhouette } from './metrics.js'

const nus = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
/** The constants of the scores were chosen by these pairs. */
const chosenBy = 60
/** Pictures of layouts; pairs have the seeds 0, 1, 2 ... */
const layoutSeed = 1000

interface Pair {
  layout: Concept
  content: Concept
  seed: number
}

/** A mix, and what there is to say of it. */
interface Judged {
  nu: number
  score: MixScore
  /** The judge's probability of the content, and of the layout's concept. */
  content: number
  layoutSeen: number
  /** Of the silhouettes of mix and layout. */
  overlap: number
}

interface Line extends Pair {
  /** The layout was a prompt. */
  fromPrompt: boolean
  mixes: Judged[]
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      pairs: { type: 'string', default: '420' },
      prompts: { type: 'string', default: '40' },
      steps: { type: 'string', default: '25' },
    },
  })
  const folder = positionals[0]
  if (folder === undefined) throw new Error('say in which folder the figures shall be kept')
  await mkdir(folder, { recursive: true })
  const study = new Study(path.join(folder, 'judged.jsonl'), Number(values.steps))
  const pairs = shuffledPairs()
  const lines = await study.judged(pairs.slice(0, Number(values.pairs)), false)
  const ofPrompts = await study.judged(pairs.slice(0, Number(values.prompts)), true)

  const parts = [
    { title: 'pairs that the constants were chosen by', part: lines.slice(0, chosenBy) },
    { title: 'all others', part: lines.slice(chosenBy) },
  ]
  for (const { title, part } of parts.filter((each) => each.part.length > 0)) {
    console.log(`${agreement(title, part)}\n${choices(part)}\n`)
  }
  if (ofPrompts.length > 0) console.log(agreement('layout prompts', ofPrompts))
}

/** The same order always. */
function shuffledPairs(): Pair[] {
  const things = concepts.filter((concept) => concept !== 'plain')
  const pairs = things.flatMap((layout) =>
    things.filter((content) => content !== layout).map((content) => ({ layout, content })),
  )
  let state = 12345
  for (let i = pairs.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    const j = Math.floor((state / 2 ** 32) * (i + 1))
    ;[pairs[i], pairs[j]] = [pairs[j]!, pairs[i]!]
  }
  return pairs.map((pair, seed) => ({ ...pair, seed }))
}

/** Mixes, judges and remembers. */
class Study {
  private readonly judge = Classifier.load()
  private readonly layouts = new Map<Concept, Promise<Mix>>()
  private mixer: MagicMix | undefined

  constructor(
    private readonly file: string,
    private readonly steps: number,
  ) {}

  async judged(pairs: readonly Pair[], fromPrompt: boolean): Promise<Line[]> {
    const known = new Map((await this.kept()).map((line) => [keyOf(line), line]))
    const lines: Line[] = []
    for (const pair of pairs) {
      const key = keyOf({ ...pair, fromPrompt })
      const line = known.get(key) ?? (await this.make(pair, fromPrompt))
      if (!known.has(key)) await appendFile(this.file, `${JSON.stringify(line)}\n`)
      lines.push(line)
    }
    await this.mixer?.dispose()
    this.mixer = undefined
    this.layouts.clear()
    return lines
  }

  private async make({ layout, content, seed }: Pair, fromPrompt: boolean): Promise<Line> {
    const prompt = { prompt: photoOf(layout) }
    this.mixer ??= await MagicMix.load({ threads: 1 })
    const original = fromPrompt
      ? await this.painted(layout, seed)
      : await (this.layouts.get(layout) ?? this.keptLayout(layout))
    const sweep = this.mixer.sweep({
      layout: fromPrompt ? prompt : pixelsOf(original),
      content: photoOf(content),
      ...{ seed, steps: this.steps, score: true, vary: { nu: nus } },
    })
    for await (const cell of sweep) void cell
    const shape = silhouette(original)
    const mixes = sweep.finished.map(({ at, mix }) => ({
      nu: at.nu as number,
      score: mix.score!,
      content: this.judge.score(mix, content),
      layoutSeen: this.judge.score(mix, layout),
      overlap: overlap(shape, silhouette(mix)),
    }))
    return { layout, content, seed, fromPrompt, mixes }
  }

  private keptLayout(concept: Concept): Promise<Mix> {
    const made = this.painted(concept, layoutSeed)
    this.layouts.set(concept, made)
    return made
  }

  /** What the name of a concept alone gives. */
  private painted(concept: Concept, seed: number): Promise<Mix> {
    const prompt = photoOf(concept)
    const plain: MixRequest = { layout: { prompt }, content: prompt, kMin: 1, kMax: 1 }
    return this.mixer!.mix({ ...plain, steps: this.steps, seed })
  }

  private async kept(): Promise<Line[]> {
    const text = await readFile(this.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line)
  }
}

const keyOf = ({ layout, content, seed, fromPrompt }: Omit<Line, 'mixes'>) =>
  `${layout} ${content} ${seed} ${fromPrompt}`

const pixelsOf = ({ data, width, height }: Picture) => ({
  data,
  width,
  height,
  channels: 3 as const,
})

// -------------------------------------------------------------------------------------------------
// Agreement of scores with the judge

function agreement(title: string, lines: readonly Line[]): string {
  const mixes = lines.flatMap((line) => line.mixes)
  const rows = [
    compared(
      'score.content, content',
      mixes,
      (mix) => mix.score.content,
      (mix) => mix.content,
    ),
    compared(
      'nu, content',
      mixes,
      (mix) => mix.nu,
      (mix) => mix.content,
    ),
    compared(
      'score.layout, overlap',
      mixes,
      (mix) => mix.score.layout,
      (mix) => mix.overlap,
      0.75,
    ),
    compared(
      '-nu, overlap',
      mixes,
      (mix) => -mix.nu,
      (mix) => mix.overlap,
      0.75,
    ),
  ]
  if (lines.some(({ fromPrompt }) => fromPrompt)) {
    const layoutPrompt = (mix: Judged) => mix.score.layoutPrompt ?? 0
    rows.push(
      compared('score.layoutPrompt, its concept', mixes, layoutPrompt, (mix) => mix.layoutSeen),
    )
  }
  const head = ['what with what', 'rank correlation', 'at one nu', 'AUC', 'share above']
  return `${title}: ${lines.length} pairs, ${mixes.length} mixes\n\n${table([head, ...rows])}\n`
}

/** @param above what of the judge's figure counts as "there" */
function compared(
  name: string,
  mixes: readonly Judged[],
  score: (mix: Judged) => number,
  judged: (mix: Judged) => number,
  above = 0.5,
): string[] {
  const correlation = (some: readonly Judged[]) =>
    rankCorrelation(some.map(score), some.map(judged))
  const ofOneNu = nus.map((nu) => correlation(mixes.filter((mix) => mix.nu === nu)))
  const there = mixes.map((mix) => judged(mix) > above)
  return [
    name,
    correlation(mixes).toFixed(2),
    Number.isNaN(mean(ofOneNu)) ? '' : mean(ofOneNu).toFixed(2),
    areaUnderCurve(mixes.map(score), there).toFixed(2),
    mean(there.map(Number)).toFixed(2),
  ]
}

/** How likely a value of one that is there is above one of one that is not. */
function areaUnderCurve(values: readonly number[], there: readonly boolean[]): number {
  const yes = values.filter((_, i) => there[i])
  const no = values.filter((_, i) => !there[i])
  const won = yes.map((a) => mean(no.map((b) => (a > b ? 1 : a === b ? 0.5 : 0))))
  return mean(won)
}

// -------------------------------------------------------------------------------------------------
// Choosing nu

type Choose = (mixes: readonly Judged[]) => Judged

function choices(lines: readonly Line[]): string {
  const fixed = nus.map((nu, i) => ({
    name: `nu ${nu}`,
    choose: (mixes: readonly Judged[]) => mixes[i]!,
  }))
  const worthOf = (choose: Choose) => lines.map(({ mixes }) => worth(choose(mixes)))
  const bestFixed = fixed.reduce((best, each) =>
    mean(worthOf(each.choose)) > mean(worthOf(best.choose)) ? each : best,
  )
  const ways: { name: string; choose: Choose }[] = [
    ...fixed,
    ...[0, 0.25, 0.5, 0.75, 1].map((balance) => ({
      name: `by scores, balance ${balance}`,
      choose: (mixes: readonly Judged[]) => byScores(mixes, balance),
    })),
    { name: 'by scores, coarse to fine', choose: coarseToFine },
    { name: 'by the judge: the best there is', choose: byJudge },
  ]
  const reference = worthOf(bestFixed.choose)
  const best = mean(worthOf(byJudge))
  const rows = ways.map(({ name, choose }) => {
    const chosen = lines.map(({ mixes }) => choose(mixes))
    const values = chosen.map(worth)
    const gains = values.map((value, i) => value - reference[i]!)
    return [
      name === bestFixed.name ? `${name}, the best fixed` : name,
      mean(chosen.map(({ nu }) => nu)).toFixed(2),
      mean(chosen.map(({ content }) => content)).toFixed(3),
      mean(chosen.map((each) => each.overlap)).toFixed(3),
      mean(values).toFixed(3),
      `${mean(gains).toFixed(3)} ± ${standardError(gains).toFixed(3)}`,
      (mean(values) / best).toFixed(2),
    ]
  })
  const head = [
    'nu',
    'mean nu',
    'content',
    'overlap',
    'harmonic mean',
    'to the best fixed',
    'of the best',
  ]
  return table([head, ...rows])
}

/** As the judge sees it. */
function worth({ content, overlap: shared }: Judged): number {
  return content + shared > 0 ? (2 * content * shared) / (content + shared) : 0
}

const byJudge: Choose = (mixes) => mixes.reduce((a, b) => (worth(b) > worth(a) ? b : a))

/** As `Sweep.best` does. */
function byScores(mixes: readonly Judged[], balance: number): Judged {
  return mixes[
    indexOfBest(
      mixes.map(({ score }) => score),
      balance,
    )
  ]!
}

/** Ends and middle, then again and again the middles beside the best of those that are there. */
const coarseToFine: Choose = (mixes) => {
  const last = mixes.length - 1
  const tried = new Set([0, Math.round(last / 2), last])
  for (;;) {
    const there = [...tried].sort((a, b) => a - b)
    const best = there.indexOf(
      mixes.indexOf(
        byScores(
          there.map((i) => mixes[i]!),
          0.5,
        ),
      ),
    )
    const between = [there[best - 1], there[best + 1]]
      .filter((i): i is number => i !== undefined)
      .map((i) => Math.round((i + there[best]!) / 2))
      .filter((i) => !tried.has(i))
    if (between.length === 0) return mixes[there[best]!]!
    for (const i of between) tried.add(i)
  }
}

function standardError(values: readonly number[]): number {
  const middle = mean(values)
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)) / values.length)
}

/** Markdown. */
function table([head, ...rows]: string[][]): string {
  return [head!, head!.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

if (require.main === module) void main()
