/** Many mixes that share their work, for a sheet to choose from. */
import { type CallSite, CallersOwn, callSite } from './errors.js'
import { isPrompt } from './input/layout.js'
import type { FilledLora } from './input/lora.js'
import type { Mix } from './mix.js'
import type { ModelInfo } from './models/model-info.js'
import type { NativePlannedCell, NativeSharing } from './native/contract.js'
import { refuseAborted } from './native/job.js'
import { checkOptions } from './options/option.js'
import { invalid } from './options/validate.js'
import type { ProgressEvent, SweepProgressEvent } from './progress.js'
import type { CheckedMixRequest } from './request/mix-options.js'
import type { RequestPictures } from './request/pictures.js'
import type { Prompts } from './request/prompts.js'
import { type BestOptions, bestOptions, callsOfScore, indexOfBest } from './request/score.js'
import {
  type CheckedSweep,
  type PlannedCell,
  type SweepAxis,
  type SweepPoint,
  inCell,
} from './sweep/axes.js'
import { Numbers } from './sweep/numbers.js'
import { SweepFolder } from './sweep-folder.js'
import { SweepSheet, captionsOf } from './sweep-sheet.js'

/**
 * A mix of a sweep.
 *
 * @example
 * ```ts
 * for await (const { mix, at, index } of mixer.sweep({ ...request, vary: { seed: [1, 2] } })) {
 *   await mix.toFile(`seed-${at.seed}.png`)
 *   console.log(`cell ${index} took ${mix.timings.total.toFixed()} ms`)
 * }
 * ```
 */
export interface SweepCell {
  /** The mix. */
  readonly mix: Mix
  /** The values of the varied options, as they were given. */
  readonly at: SweepPoint
  /** Its place on the sheet: from left to right, then down. */
  readonly index: number
}

/**
 * What a sweep costs.
 *
 * @example
 * ```ts
 * const { cells, unetCalls, unetCallsOfSingleMixes } = mixer.sweep({
 *   ...request,
 *   vary: { nu: { from: 0, to: 1, step: 0.1 }, kMin: [0.2, 0.3] },
 * }).plan // nothing is computed for it
 * console.log(`${cells} mixes: ${unetCalls} calls instead of ${unetCallsOfSingleMixes}`)
 * ```
 */
export interface SweepPlan {
  /** Mixes. */
  readonly cells: number
  /**
   * Calls of the UNet, layouts' runs and scores included: as many as {@link Mix.unetCalls} and
   * {@link MixScore.unetCalls} of all cells are together.
   */
  readonly unetCalls: number
  /** What as many mixes by themselves would take. */
  readonly unetCallsOfSingleMixes: number
}

/** @internal What is there already for a mix. */
export interface SharedWork {
  /** Of mixes that are computed together, in the place of the request's. */
  seeds?: readonly number[]
  pictures?: RequestPictures
  mapNumbers?: MapNumbers
  native?: { sharing: NativeSharing }
}

/** Numbers of the maps of a sweep, from 1 on. */
type MapNumbers = Record<'nuMap' | 'kMaxMap', number>

/** @internal What a sweep wants of its mixer. */
export interface SweepWork {
  model: ModelInfo
  /** Those of mixes that name none. */
  loras: readonly FilledLora[]
  /** Throws what is wrong with a request for this model. */
  check(checked: CheckedMixRequest): void
  prompts(checked: CheckedMixRequest): Prompts
  plan(
    cells: {
      checked: CheckedMixRequest
      prompts: Prompts
      sharing: NativeSharing
      mapNumbers: MapNumbers
    }[],
  ): NativePlannedCell[]
  read(checked: CheckedMixRequest): Promise<RequestPictures>
  mix(checked: CheckedMixRequest, prompts: Prompts, shared: SharedWork): Promise<Mix[]>
  /** Frees what the engine keeps for the sweep of that number. */
  end(sweep: number): void
}

/** A cell with what it needs. */
interface Job extends PlannedCell {
  prompts: Prompts
  /** Number of its pictures among those that are read. */
  pictures: number
  mapNumbers: MapNumbers
}

/** Cells that are computed together: alike in all but their seeds. */
interface Batch {
  jobs: [Job, ...Job[]]
  sharing: NativeSharing
  /** Of each cell. */
  unetCalls: number
}

type Three<T> = [T, T, T]

let lastSweep = 0
/** Of sweeps that were collected before their end. */
const forgotten = new FinalizationRegistry<() => void>((end) => end())

/**
 * Mixes of one request with other values of some options, made one by one while it is iterated over: corners of the sheet
 * first, then what lies between. It may be iterated over again: what is there comes at once, and after an
 * error or a `break` the rest is made.
 *
 * @example
 * ```ts
 * const sweep = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9], content: ['a tiger', 'a lemon'] } })
 * console.log(`${sweep.plan.cells} mixes, ${sweep.plan.unetCalls} calls of the UNet`)
 * for await (const { mix, at } of sweep) console.log(at.nu, at.content, mix.timings.total)
 * await sweep.sheet().toFile('sheet.webp')
 * ```
 */
export class Sweep implements AsyncIterable<SweepCell> {
  /** What it costs, known before it starts. */
  readonly plan: SweepPlan
  /** What is varied: the first across the sheet, the second down, the third down in groups. */
  readonly axes: readonly SweepAxis[]

  private readonly number = ++lastSweep
  private readonly jobs: Job[]
  private batches = new Map<Job, Batch>()
  private readonly roots = new Numbers()
  private readonly pictures: Promise<RequestPictures>[] = []
  private readonly made = new Map<number, SweepCell>()
  private readonly underway = new Map<number, Promise<SweepCell>>()
  private last: Promise<unknown> = Promise.resolve()
  private preparation: Promise<void> | undefined
  private folder: SweepFolder | undefined
  private callsPlanned: number
  private callsDone = 0
  private started = 0
  private ended = false

  /** @internal */
  static of(checked: CheckedSweep, work: SweepWork, site: CallSite): Sweep {
    return new Sweep(checked, work, site)
  }

  private constructor(
    private readonly checked: CheckedSweep,
    private readonly work: SweepWork,
    private readonly site: CallSite,
  ) {
    this.axes = checked.axes
    const { number } = this
    const [pictures, maps, texts] = [0, 1, 2].map(() => new Numbers()) as Three<Numbers>
    const prompts: Prompts[] = []
    this.jobs = checked.cells.map((cell) => {
      const { request } = cell
      const text = texts.of(textsOf(request))
      inCell(cell.at, () => {
        work.check(request)
        prompts[text] ??= work.prompts(request)
      })
      const { nuMap, kMaxMap } = request
      return {
        ...cell,
        pictures: pictures.of([layoutOf(request), nuMap, kMaxMap]),
        mapNumbers: { nuMap: 1 + maps.of(nuMap), kMaxMap: 1 + maps.of(kMaxMap) },
        prompts: prompts[text]!,
      }
    })
    this.plan = Object.freeze({ cells: this.jobs.length, ...this.share(checked.order) })
    this.callsPlanned = this.plan.unetCalls
    forgotten.register(this, () => work.end(number), this)
  }

  /**
   * The cells that are there, in the order of their places on the sheet.
   *
   * @example
   * ```ts
   * const sweep = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9] } })
   * for await (const { mix } of sweep) if (mix.timings.total > 60_000) break // too slow for more
   * for (const { mix, index } of sweep.finished) await mix.toFile(`cell-${index}.png`)
   * ```
   */
  get finished(): readonly SweepCell[] {
    return [...this.made.values()].sort((a, b) => a.index - b.index)
  }

  /**
   * A sheet of the cells that are there, with the values of the varied options; the place of a cell that is not there
   * yet is blank. May be called at any time.
   *
   * @example
   * ```ts
   * const sweep = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9] } })
   * for await (const _ of sweep) await sweep.sheet().toFile('so-far.png')
   * ```
   */
  sheet(): SweepSheet {
    const { nativeSize } = this.work.model
    const { width = nativeSize, height = nativeSize } = this.jobs[0]!.request
    const cells = this.jobs.map(({ index }) => this.made.get(index)?.mix)
    const requests = this.jobs.map(({ request }) => request)
    return SweepSheet.of(captionsOf(this.axes, requests), cells, { width, height })
  }

  /**
   * Of the cells that are there the best by their scores; nothing while there is none. The request has to ask for them
   * with `score: true`. They tell mixes of one content apart, so vary something else. May be called at any time.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION
   * @example
   * ```ts
   * const sweep = mixer.sweep({ ...request, score: true, vary: { nu: [0.3, 0.6, 0.9] } })
   * for await (const { mix } of sweep) console.log(mix.score)
   * await sweep.best()?.mix.toFile('best.png')
   * ```
   */
  best(options: BestOptions = {}): SweepCell | undefined {
    const site = callSite(Sweep.prototype.best)
    try {
      const { balance } = checkOptions(bestOptions, options, 'best', '', 'the options of best')
      if (!this.jobs[0]!.request.score) {
        throw invalid('score', 'true, for best to choose by,', false)
      }
      const cells = this.finished
      return cells[
        indexOfBest(
          cells.map(({ mix }) => mix.score!),
          balance,
        )
      ]
    } catch (error) {
      throw site.errorFor(error)
    }
  }

  /**
   * Makes the cells, one after the other.
   *
   * @example
   * ```ts
   * const sweep = mixer.sweep({ ...request, vary: { nu: [0.3, 0.6, 0.9] } })
   * for await (const { index } of sweep) if (index === 2) break // corners come first
   * for await (const { index } of sweep) console.log(index) // those that are there at once, then the rest
   * ```
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<SweepCell, void, undefined> {
    for (const index of this.checked.order) {
      try {
        yield await this.cell(index)
      } catch (error) {
        throw this.site.errorFor(error)
      }
    }
  }

  /** One at a time: the states that a cell begins with are there when those before it are done. */
  private cell(index: number): Promise<SweepCell> {
    const known = this.underway.get(index)
    if (known) return known
    const making = this.last.then(() => this.make(this.jobs[index]!))
    this.underway.set(index, making)
    this.last = making.catch(() => {
      this.underway.delete(index)
      if (this.checked.signal?.aborted) this.end()
    })
    return making
  }

  private async make(job: Job): Promise<SweepCell> {
    this.preparation ??= this.prepare()
    try {
      await this.preparation
    } catch (error) {
      this.preparation = undefined
      throw error
    }
    if (!this.made.has(job.index)) await this.mix(this.batches.get(job)!)
    const cell = this.made.get(job.index)!
    await this.folder?.write(cell)
    if (this.made.size === this.jobs.length) this.end()
    return cell
  }

  private async mix(batch: Batch): Promise<void> {
    const { jobs, sharing, unetCalls } = batch
    const { signal, onProgress } = this.checked
    refuseAborted(signal)
    this.started ||= performance.now()
    const { request, prompts, mapNumbers, pictures } = jobs[0]
    const mixes = await this.work.mix(
      {
        ...request,
        onProgress:
          onProgress && ((event: ProgressEvent) => onProgress(this.eventOf(event, batch))),
      },
      prompts,
      {
        ...(jobs.length > 1 && { seeds: seedsOf(jobs) }),
        ...{ pictures: await this.pictures[pictures]!, mapNumbers, native: { sharing } },
      },
    )
    this.callsDone += jobs.length * unetCalls
    jobs.forEach(({ index, at }, i) => this.made.set(index, { mix: mixes[i]!, at, index }))
    // Others than the one that was asked for are on the disk too before anything else can happen to them.
    for (const { index } of jobs) await this.folder?.write(this.made.get(index)!)
  }

  /** Reads what the sweep is made of, so that no cell fails for a picture after hours. */
  private async prepare(): Promise<void> {
    refuseAborted(this.checked.signal)
    for (const { pictures, request, at } of this.jobs) {
      this.pictures[pictures] ??= this.work.read(request)
      try {
        await this.pictures[pictures]
      } catch (error) {
        Reflect.deleteProperty(this.pictures, pictures)
        throw inCellLater(at, error)
      }
    }
    const { folder, order, seedGiven } = this.checked
    if (folder === undefined) return
    const opened = await SweepFolder.open(folder, {
      ...{ axes: this.axes, model: this.work.model, loras: this.work.loras, seedGiven },
      cells: this.jobs,
      pictures: await Promise.all(this.pictures),
    })
    if (!seedGiven) for (const { request } of this.jobs) request.seed = opened.seed
    for (const cell of opened.cells) this.made.set(cell.index, cell)
    // The states that these would have left have to be computed by others.
    if (opened.cells.length > 0) {
      this.callsPlanned = this.share(order.filter((index) => !this.made.has(index))).unetCalls
    }
    this.folder = opened.folder
  }

  /** Plans the cells of that order, each with what those before it leave. */
  private share(order: readonly number[]): Omit<SweepPlan, 'cells'> {
    const batches = this.batched(order.map((index) => this.jobs[index]!))
    const shared = batches.map((jobs) => ({ jobs, sharing: this.sharingOf(jobs) }))
    const planned = this.work.plan(
      shared.map(({ jobs: [{ request: checked, prompts, mapNumbers }], sharing }) => {
        return { checked, prompts, sharing, mapNumbers }
      }),
    )
    this.batches = new Map()
    let [unetCalls, unetCallsOfSingleMixes] = [0, 0]
    planned.forEach(({ keepLayout, keepContent, unetCalls: calls, callsOfSingleMix }, i) => {
      const { jobs, sharing } = shared[i]!
      const batch = { jobs, sharing: { ...sharing, keepLayout, keepContent }, unetCalls: calls }
      for (const job of jobs) this.batches.set(job, batch)
      unetCalls += jobs.length * calls
      unetCallsOfSingleMixes += jobs.length * callsOfSingleMix
    })
    return { unetCalls, unetCallsOfSingleMixes }
  }

  /**
   * Those that differ in their seed alone, so many at a time, in the order of their first cells. Whatever else is
   * varied, the same seeds are together, so that batches too can leave states for each other.
   */
  private batched(jobs: readonly Job[]): Batch['jobs'][] {
    const { batch } = this.checked
    if (batch === 1) return jobs.map((job) => [job])
    const { values: seeds } = this.axes.find(({ option }) => option === 'seed')!
    const alike = new Numbers()
    const batches = new Map<number, Batch['jobs']>()
    for (const job of jobs) {
      const part = Math.floor(seeds.indexOf(job.at.seed) / batch)
      const number = alike.of([part, { ...job.request, seed: null }])
      const others = batches.get(number)
      if (others) others.push(job)
      else batches.set(number, [job])
    }
    const place = ({ at }: Job) => seeds.indexOf(at.seed)
    for (const batch of batches.values()) batch.sort((a, b) => place(a) - place(b))
    return [...batches.values()]
  }

  /** Of a batch before it is planned. */
  private sharingOf(jobs: Batch['jobs']): NativeSharing {
    const [{ request, index }] = jobs
    // A trace is of all states of a mix, and states that others have left are none of its own.
    const ofTrace = request.trace ? index : null
    const root = this.roots.of([layoutOf(request), ofTrace, rootOf(request), seedsOf(jobs)])
    const nothing = new Int32Array()
    return { sweep: this.number, root, keepLayout: nothing, keepContent: nothing }
  }

  private eventOf(event: ProgressEvent, { jobs, unetCalls }: Batch): SweepProgressEvent {
    const [{ index, at, request }] = jobs
    const { stage, step, steps } = event
    const ofScore = request.score ? callsOfScore : 0
    const ofAll = jobs.length * unetCalls
    // The steps of a layout prompt come first; each is one of every cell.
    const ofBatch =
      stage === 'decode'
        ? ofAll
        : stage === 'score'
          ? ofAll - steps + step
          : stage === 'content'
            ? ofAll - jobs.length * (ofScore + steps - step)
            : stage === 'layout'
              ? jobs.length * step
              : 0
    const done = this.callsDone + ofBatch
    const all = this.callsPlanned
    const elapsed = performance.now() - this.started
    return {
      ...event,
      etaMs: done > 0 ? (elapsed / done) * (all - done) : 0,
      cell: { index, at },
      cells: { done: this.made.size, all: this.jobs.length },
      unetCalls: { done, all },
    }
  }

  private end(): void {
    if (this.ended) return
    this.ended = true
    forgotten.unregister(this)
    this.work.end(this.number)
  }
}

function seedsOf(jobs: Batch['jobs']): number[] {
  return jobs.map(({ request }) => request.seed)
}

/** An error of a picture names the cell, if layouts are varied. */
function inCellLater(at: SweepPoint, error: unknown): unknown {
  const isVaried = [at.layout, at.layouts, at.nuMap, at.kMaxMap].some((each) => each !== undefined)
  if (error instanceof CallersOwn || !isVaried) return error
  try {
    return inCell(at, () => {
      throw error
    })
  } catch (named) {
    return named
  }
}

/** Cells that agree in this have the same layout, in the same size. */
function layoutOf(request: CheckedMixRequest): unknown {
  const { layout, layouts, width, height, fit, background } = request
  return [layout, layouts, width, height, fit, background]
}

/** Cells that agree in this have the same tokens. */
function textsOf(request: CheckedMixRequest): unknown {
  const { layout, content, contents, interpolate, negativePrompt, attention, truncate } = request
  const prompt = isPrompt(layout) ? layout : null
  const edited = request.promptSyntax === 'plain' ? null : request.steps
  const prompts = [prompt, content, contents, interpolate, negativePrompt]
  return [...prompts, attention, truncate, edited]
}

/**
 * The engine looks at these step by step (`Trail` in cpp/engine), or they make no difference to states, or, the seeds, are
 * those of a batch. All others count from the first state on.
 */
const ofSteps: ReadonlySet<string> = new Set<keyof CheckedMixRequest>([
  ...(['layout', 'layouts', 'content', 'contents', 'interpolate', 'negativePrompt'] as const),
  ...(['attention', 'kMin', 'kMax', 'nu', 'nuMap', 'kMaxMap', 'method', 'promptSyntax'] as const),
  ...(['guidanceScale', 'guidanceInterval', 'cache', 'fast'] as const),
  ...(['decoder', 'previewEvery', 'trace', 'onProgress', 'signal', 'seed'] as const),
])

function rootOf(request: CheckedMixRequest): unknown {
  return Object.fromEntries(Object.entries(request).filter(([name]) => !ofSteps.has(name)))
}
