/** The class that users work with: a loaded model that mixes. */
import { tracingChannel } from 'node:diagnostics_channel'

import { isPrompt } from './input/layout.js'
import { useDevice } from './devices/devices.js'
import { CallersOwn, MagicMixError, calledFrom, callSite } from './errors.js'
import { resolveEmbeddings, resolveLoras, resolveModel } from './hub/pull.js'
import { IsolatedMixer } from './isolate/isolated-mixer.js'
import { Mix } from './mix.js'
import { MixQueue, type MixerStats, type Outcome, type Queue, type Turn } from './mix-queue.js'
import type { FilledLora } from './input/lora.js'
import { ClipTokens, type Token } from './input/tokens.js'
import { type LoadOptions, checkLoadOptions } from './models/load-options.js'
import { type ModelInfo, frozen } from './models/model-info.js'
import { originalConfigOf } from './models/original-config.js'
import type { NativeMixRequest, NativeMixer, NativeProgress } from './native/contract.js'
import { type Watch, refuseAborted, runJob } from './native/job.js'
import { Listener } from './native/listener.js'
import { native } from './native/native.js'
import type { DownloadProgressEvent, LoadProgressEvent, ProgressEvent } from './progress.js'
import {
  type CheckedMixRequest,
  type FilledMixRequest,
  type MixRequest,
  checkForModel,
  checkRequest,
  layoutOf,
  mixOptions,
} from './request/mix-options.js'
import { nativeMethod } from './request/method.js'
import { crossing } from './options/option.js'
import { invalid } from './options/validate.js'
import { mixedStates, nuOfStates } from './request/nu.js'
import { type RequestPictures, readPictures, sizeFromHeaders } from './request/pictures.js'
import { type Prompts, tokenizePrompts } from './request/prompts.js'
import { nativeConditioning } from './request/conditioning.js'
import { type Origin, lorasOf, originOf, pictureRecipe } from './recipe/picture-recipe.js'
import type { Recipe } from './request/recipe.js'
import { callsOfScore } from './request/score.js'
import { Stop } from './stop.js'
import { type SharedWork, Sweep, type SweepWork } from './sweep.js'
import { type SweepRequest, checkSweep } from './sweep/axes.js'
import { type CompareOptions, type CompareRequest, checkComparison } from './sweep/comparison.js'

/**
 * The size and the steps of a mix, as {@link MagicMix.check} reports them.
 *
 * @example
 * ```ts
 * const { width, height, steps } = await mixer.check({ ...request, score: true })
 * console.log(`${width} x ${height}`, steps) // 128 x 128 { layout: 0, content: 30, score: 4 }
 * ```
 */
export interface MixPlan {
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** Calls of the UNet. */
  steps: {
    /** For the run of a layout prompt; 0 for a picture. */
    layout: number
    /** For the content. */
    content: number
    /** To judge the mix; see {@link MixRequest.score}. */
    score: number
  }
}

/**
 * A loaded model that mixes pictures. Any number of mixes may be asked for at a time; they run one
 * after the other on the model's own thread: of those whose layout has been read, first come, first
 * served.
 *
 * @example
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * await using mixer = await MagicMix.load() // the model in the package; another: { model: 'hf:sd1.5' }
 * const mix = await mixer.mix({ layout: 'corgi.jpg', content: 'a photo of a coffee machine' })
 * await mix.toFile('mix.png')
 * ```
 */
export class MagicMix {
  /** Description of the model: family, sizes, parameters, precision, device, memory. */
  readonly model: ModelInfo
  /** Knows the placeholders of the model's embeddings. */
  private readonly tokens: ClipTokens
  private disposal: Promise<void> | undefined
  private readonly mixes: MixQueue
  /** Of every call that has not ended. */
  private readonly stops = new Set<Stop>()

  private constructor(
    private readonly native: NativeMixer,
    tokens: ClipTokens,
    private readonly loras: OwnLoras,
    maxQueue: number,
    private readonly timeLimit: number | undefined,
    private readonly loadTime: number,
    /** @internal */
    readonly origin: Origin,
  ) {
    this.mixes = new MixQueue(maxQueue)
    this.model = frozen(native.info)
    this.tokens = tokens.withLearnt(this.model.embeddings)
  }

  /**
   * Loads a model.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, MODEL_NOT_FOUND, MODEL_FORMAT,
   * MODEL_UNSUPPORTED, CONFIG_NEEDED, DEVICE_UNAVAILABLE, OUT_OF_MEMORY, OUT_OF_THREADS,
   * ADDON_UNAVAILABLE; with `isolate` also DEVICE_FAILED; for what comes from the
   * hub also ACCESS_DENIED, DOWNLOAD_FAILED, DOWNLOAD_DAMAGED, DISK_FULL; or the
   * signal's reason
   * @example
   * <!-- snippet: types, needs a download -->
   * ```ts
   * import { MagicMix } from 'magicmix'
   *
   * await using mixer = await MagicMix.load({ model: 'hf:sd1.5', precision: 'auto' })
   * ```
   */
  static async load(options: LoadOptions = {}): Promise<MagicMix> {
    return calledFrom(MagicMix.load, async () => {
      const checked = checkLoadOptions(options)
      const { native: nativeOptions, isolate, maxQueue = Infinity, timeLimit, ...watch } = checked
      if (!isolate) native() // or there is no need to go on
      refuseAborted(watch.signal)
      // What is small comes first: a mistake in it is not found after gigabytes.
      const embeddings = await resolveEmbeddings(nativeOptions.embeddings, watch)
      const loras = await resolveLoras(nativeOptions.loras, watch)
      const { tinyDecoder: tiny } = nativeOptions
      const tinyDecoder = tiny && (await resolveModel(tiny, watch, 'tinyDecoder'))
      const vae = nativeOptions.vae && (await resolveModel(nativeOptions.vae, watch, 'vae'))
      const model = await resolveModel(nativeOptions.model, watch)
      const started = performance.now()
      const tokens = await ClipTokens.load()
      // The driver of a GPU is loaded where it is used.
      const device = isolate ? nativeOptions.device : await useDevice(nativeOptions.device)
      const originalConfig = await originalConfigOf(model)
      const found = { model, vae, tinyDecoder, embeddings, loras }
      const wanted = { ...nativeOptions, ...found, device, originalConfig }
      const mixer = await runJob(
        (report) => (isolate ? IsolatedMixer.load(wanted, report) : native().load(wanted, report)),
        loadEvent,
        watch,
        (unwanted) => unwanted.dispose(),
      )
      const loadTime = performance.now() - started
      const own = { named: nativeOptions.loras, found: loras }
      const origin = await originOf(mixer.info, nativeOptions, wanted)
      return new MagicMix(mixer, tokens, own, maxQueue, timeLimit, loadTime, origin)
    })
  }

  /**
   * The numbers of mixes that run and wait now.
   *
   * @example
   * ```ts
   * const { running, waiting } = mixer.queue
   * if (waiting > 10) console.log(`${running + waiting} mixes come first`)
   * ```
   */
  get queue(): Queue {
    return this.mixes.state
  }

  /**
   * What the mixer has done so far, for monitoring. Every mix is also a span of the tracing channel
   * `magicmix.mix` of `node:diagnostics_channel`, with `{ model, request, mix, error }`.
   *
   * @example
   * ```ts
   * import { subscribe } from 'node:diagnostics_channel'
   *
   * subscribe('tracing:magicmix.mix:asyncEnd', () => console.log(mixer.stats().totalTimes.p95))
   * await mixer.mix(request)
   * const { done, failed, stopped } = mixer.stats()
   * ```
   */
  stats(): MixerStats {
    const { mixes } = this
    return {
      ...mixes.state,
      ...mixes.counts,
      stepTimes: mixes.stepTimes.summary,
      waitTimes: mixes.waitTimes.summary,
      totalTimes: mixes.totalTimes.summary,
      memory: { weights: this.model.memory.weights, process: process.memoryUsage.rss() },
    }
  }

  /**
   * Mixes the content into the layout.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, PROMPT_TOO_LONG,
   * PROMPT_SYNTAX, PHRASE_NOT_FOUND, PHRASE_TRUNCATED, PICTURE_UNREADABLE, QUEUE_FULL, TIMED_OUT, OUT_OF_MEMORY,
   * NOT_FINITE, DEVICE_FAILED, DISPOSED; for `loras` also MODEL_NOT_FOUND, MODEL_FORMAT, MODEL_UNSUPPORTED, and from
   * the hub ACCESS_DENIED, DOWNLOAD_FAILED, DOWNLOAD_DAMAGED, DISK_FULL; or the
   * signal's reason; or what `onProgress` threw
   * @example
   * ```ts
   * const mix = await mixer.mix({ layout: 'corgi.jpg', content: 'a photo of a coffee machine', nu: 0.9 })
   * await mix.toFile('mix.png')
   * ```
   */
  async mix(request: MixRequest | FilledMixRequest | Recipe): Promise<Mix> {
    return calledFrom(MagicMix.prototype.mix, async () => {
      const started = performance.now()
      const checked = checkRequest(request)
      this.refuseDisposed()
      refuseAborted(checked.signal)
      checkForModel(checked, this.model)
      this.refuseWithoutDecoder(checked)
      const prompts = tokenizePrompts(checked, this.tokens, this.model.sizes.textEncoder.padding)
      const [mix] = await this.start(checked, prompts, started)
      return mix!
    })
  }

  /**
   * Mixes one request over and over with other values of one to three options, for a sheet to choose from. The
   * cells share work: prompts and layouts are encoded once, and a state that several mixes come through is
   * computed once. Every cell is the same to the byte as a mix by itself.
   *
   * Nothing is computed before the sweep is iterated over, or what it gives has been asked for. Each cell is a mix
   * like others, and waits in the queue among them.
   *
   * @throws {@link MagicMixError} at once, before anything is computed: INVALID_ARGUMENT, UNKNOWN_OPTION,
   * PROMPT_TOO_LONG, PROMPT_SYNTAX, PHRASE_NOT_FOUND, PHRASE_TRUNCATED, DISPOSED; and what `mix` throws, when a cell is made
   * @example
   * ```ts
   * const sweep = mixer.sweep({
   *   layout: 'corgi.jpg', content: 'a photo of a coffee machine', seed: 7,
   *   vary: { nu: [0.3, 0.9], kMax: { from: 0.5, to: 0.7, step: 0.2 } },
   * })
   * for await (const { mix, at } of sweep) console.log(at, mix.timings.total)
   * await sweep.sheet().toFile('sheet.png')
   * ```
   */
  sweep(request: SweepRequest): Sweep {
    const site = callSite(MagicMix.prototype.sweep)
    try {
      const checked = checkSweep(request)
      this.refuseDisposed()
      return Sweep.of(checked, this.sweepWork(), site)
    } catch (error) {
      throw site.errorFor(error)
    }
  }

  /**
   * Mixes two prompts by MagicMix and by every other method on one seed, for one sheet: a {@link sweep} whose only
   * axis is `method`. `kMin`, `kMax`, `nu` and `interpolate` are for MagicMix alone.
   *
   * @throws {@link MagicMixError} what {@link sweep} throws
   * @example
   * ```ts
   * const comparison = mixer.compare(
   *   { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger', seed: 7 },
   *   { methods: ['magicmix', { name: 'alternate', every: 3 }] },
   * )
   * for await (const { mix, at } of comparison) console.log(at.method, mix.timings.total)
   * await comparison.sheet().toFile('compare.png')
   * ```
   */
  compare(request: CompareRequest, options: CompareOptions = {}): Sweep {
    const site = callSite(MagicMix.prototype.compare)
    try {
      const checked = checkComparison(request, options)
      this.refuseDisposed()
      return Sweep.of(checked, this.sweepWork(), site)
    } catch (error) {
      throw site.errorFor(error)
    }
  }

  /** What a sweep wants of its mixer. */
  private sweepWork(): SweepWork {
    const { native: engine } = this
    return {
      model: this.model,
      loras: this.loras.named,
      check: (checked) => {
        checkForModel(checked, this.model)
        this.refuseWithoutDecoder(checked)
      },
      prompts: (checked) =>
        tokenizePrompts(checked, this.tokens, this.model.sizes.textEncoder.padding),
      plan: (cells) => {
        const size = { width: 8, height: 8 } // where the sizes differ, so do the roots
        const noMap = new Float32Array(1)
        const requests = cells.map(({ checked, prompts, sharing, mapNumbers }) => {
          const pictures = {
            size,
            layout: prompts.layout ? null : [{ pixels: new Uint8Array(1), weight: 1 }],
            nuMap: checked.nuMap === null ? null : noMap,
            kMaxMap: checked.kMaxMap === null ? null : noMap,
          }
          const filled = { ...fill(checked, { size, kept: checked }, []), loras: [] }
          return { ...nativeRequest(checked, filled, prompts, pictures, mapNumbers), sharing }
        })
        return native().planSweep({ requests, schedule: engine.schedule })
      },
      read: async (checked) => {
        const stop = this.stopOf(checked.signal)
        try {
          return await stop.race(readPictures(checked, this.model, stop.signal))
        } catch (error) {
          throw stop.signal.aborted ? stop.signal.reason : error
        } finally {
          this.release(stop)
        }
      },
      mix: (checked, prompts, shared) => {
        this.refuseDisposed()
        return this.start(checked, prompts, performance.now(), shared)
      },
      end: (sweep) => void engine.endSweep(sweep).done.catch(() => {}),
    }
  }

  private start(
    checked: CheckedMixRequest,
    prompts: Prompts,
    started: number,
    shared: SharedWork = {},
  ): Promise<Mix[]> {
    const turn = this.mixes.enter()
    const span: MixSpan = { model: this.model, request: checked }
    return mixing.tracePromise(() => this.run(checked, prompts, turn, started, span, shared), span)
  }

  private async run(
    checked: CheckedMixRequest,
    prompts: Prompts,
    turn: Turn,
    started: number,
    span: MixSpan,
    shared: SharedWork,
  ): Promise<Mix[]> {
    const stop = this.stopOf(checked.signal)
    let outcome: Outcome = 'failed'
    try {
      const pictures =
        shared.pictures ?? (await stop.race(readPictures(checked, this.model, stop.signal)))
      const loras = checked.loras
        ? await stop.race(resolveLoras(checked.loras, downloadWatch(checked.onProgress, stop)))
        : this.loras.found
      const queued = await stop.race(turn.ready(placeReporter(checked.onProgress, stop)))
      const filled = fill(checked, pictures, this.loras.named)
      const { model, made } = this.origin
      const hashed = await stop.race(lorasOf(filled.loras, loras))
      const origin = { model: { ...model, loras: hashed }, made }
      const result = await runJob(
        (report) =>
          this.native.mix(
            {
              ...nativeRequest(checked, { ...filled, loras }, prompts, pictures, shared.mapNumbers),
              ...(shared.seeds && { seeds: Float64Array.from(shared.seeds) }),
              ...shared.native,
            },
            report,
          ),
        mixEvent,
        { signal: stop.signal, onProgress: checked.onProgress },
      )
      const total = performance.now() - started
      const mixes = result.pictures.map((picture, i) => {
        const own = shared.seeds ? { ...filled, seed: shared.seeds[i]! } : filled
        const recipe = pictureRecipe(own, pictures.sources, origin)
        return Mix.of(own, result, picture, { load: this.loadTime, queued, total }, recipe)
      })
      for (const ms of result.timings.steps) this.mixes.stepTimes.add(ms)
      this.mixes.totalTimes.add(total)
      outcome = 'done'
      span.mix = mixes[0]!
      return mixes
    } catch (error) {
      if (!stop.signal.aborted) {
        stop.because(error) // ends what is still read for this mix
        throw error
      }
      const reason: unknown = stop.signal.reason
      const timedOut = reason instanceof MagicMixError && reason.code === 'TIMED_OUT'
      if (!timedOut) outcome = 'stopped'
      throw reason
    } finally {
      this.release(stop)
      turn.end(outcome, shared.seeds?.length)
    }
  }

  /**
   * Checks a request without running it: everything that `mix` checks before the engine starts. Of a
   * picture it reads the header.
   *
   * @throws {@link MagicMixError} what `mix` throws before its first step, but for QUEUE_FULL
   * @example
   * ```ts
   * const { width, height, steps } = await mixer.check(request)
   * console.log(`${width} x ${height}, ${steps.layout + steps.content} steps`)
   * ```
   */
  async check(request: MixRequest | FilledMixRequest | Recipe): Promise<MixPlan> {
    return calledFrom(MagicMix.prototype.check, async () => {
      const checked = checkRequest(request)
      this.refuseDisposed()
      refuseAborted(checked.signal)
      checkForModel(checked, this.model)
      this.refuseWithoutDecoder(checked)
      tokenizePrompts(checked, this.tokens, this.model.sizes.textEncoder.padding)
      const stop = this.stopOf(checked.signal)
      try {
        return {
          ...(await stop.race(sizeFromHeaders(checked, this.model))),
          steps: stepsOf(checked),
        }
      } finally {
        this.release(stop)
      }
    })
  }

  /**
   * Shows how a text is cut into tokens: begin of text, the text's own tokens, end of text. It is
   * not cut off: a prompt fits if this gives at most 77. Text encoders see it filled up to 77 with the
   * token `model.sizes.textEncoder.padding`; both of Stable Diffusion XL see the same tokens, the second
   * filled up with `model.sizes.textEncoder2.padding` (49407 and 0, unless the model says otherwise).
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, PROMPT_TOO_LONG (over 1000 characters), DISPOSED
   * @example
   * ```ts
   * mixer.tokenize('a photorealistic corgi').map(({ text }) => text)
   * // [ '<|startoftext|>', 'a', 'photo', 'realistic', 'corgi', '<|endoftext|>' ]
   * // What XL's second text encoder sees:
   * const ids = mixer.tokenize('a corgi').map(({ id }) => id)
   * const { textEncoder2 } = mixer.model.sizes
   * if (textEncoder2) while (ids.length < 77) ids.push(textEncoder2.padding)
   * ```
   */
  tokenize(text: string): Token[] {
    const site = callSite(MagicMix.prototype.tokenize)
    try {
      this.refuseDisposed()
      return this.tokens.sequenceOf(text)
    } catch (error) {
      throw site.errorFor(error)
    }
  }

  /**
   * Stops every mix, running or waiting (they reject with DISPOSED), and frees the model's memory.
   * Resolves when it is free. May be called again; nothing else may.
   *
   * @example
   * ```ts
   * import { MagicMix } from 'magicmix'
   *
   * const mixer = await MagicMix.load()
   * try {
   *   await mixer.mix(request)
   * } finally {
   *   await mixer.dispose()
   * }
   * ```
   */
  dispose(): Promise<void> {
    if (!this.disposal) {
      this.disposal = this.native.dispose()
      for (const stop of this.stops) stop.because(disposed())
    }
    return this.disposal
  }

  /**
   * For `await using`. The same as {@link dispose}.
   *
   * @example
   * ```ts
   * import { MagicMix } from 'magicmix'
   *
   * {
   *   await using mixer = await MagicMix.load()
   *   await mixer.mix(request)
   * } // disposed of, whatever happened
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  private refuseDisposed(): void {
    if (this.disposal) throw disposed()
  }

  private refuseWithoutDecoder({ decoder }: CheckedMixRequest): void {
    if (decoder !== 'tiny' || this.model.tinyDecoder) return
    throw invalid(
      'decoder',
      "'full' (the model was loaded without a tiny decoder; the option tinyDecoder of load names one)",
      decoder,
    )
  }

  private stopOf(signal: AbortSignal | undefined): Stop {
    const stop = new Stop(signal, this.timeLimit)
    this.stops.add(stop)
    return stop
  }

  private release(stop: Stop): void {
    stop.release()
    this.stops.delete(stop)
  }
}

/** LoRAs of the mixer, for every mix that names none. */
interface OwnLoras {
  /** As they were given. */
  named: FilledLora[]
  /** With the paths of their files. */
  found: FilledLora[]
}

/** A span of the tracing channel. */
interface MixSpan {
  model: ModelInfo
  request: CheckedMixRequest
  mix?: Mix
}

const mixing = tracingChannel<MixSpan, MixSpan>('magicmix.mix')

function fill(
  request: CheckedMixRequest,
  { size, kept }: Pick<RequestPictures, 'size' | 'kept'>,
  loras: FilledLora[],
): FilledMixRequest {
  const { onProgress, signal, ...values } = request
  return { ...values, ...kept, ...size, loras: request.loras ?? loras }
}

/** Tells a mix that waits its place; an error of the listener ends it. */
function placeReporter(
  onProgress: CheckedMixRequest['onProgress'],
  stop: Stop,
): ((place: number) => void) | undefined {
  if (!onProgress) return undefined
  const failed = (error: unknown) => stop.because(new CallersOwn(error))
  const listener = new Listener<ProgressEvent>(onProgress, failed)
  const waiting = { stage: 'queued', step: 0, steps: 0, timestep: 0, etaMs: 0 } as const
  return (position) => listener.notify({ ...waiting, position })
}

/** Downloads of LoRAs, as events of a mix. */
function downloadWatch(
  onProgress: CheckedMixRequest['onProgress'],
  { signal }: Stop,
): Watch<DownloadProgressEvent> {
  if (!onProgress) return { signal }
  const toMix = (download: DownloadProgressEvent): ProgressEvent => {
    const { stage, step, steps, etaMs } = download
    return { stage, step, steps, timestep: 0, etaMs, download }
  }
  return { signal, onProgress: (event) => onProgress(toMix(event)) }
}

function disposed(): MagicMixError {
  return new MagicMixError('DISPOSED', 'This mixer has been disposed of')
}

function nativeRequest(
  checked: CheckedMixRequest,
  { loras, width, height }: FilledMixRequest,
  { layout: prompt, ...prompts }: Prompts,
  { layout, nuMap, kMaxMap }: Omit<RequestPictures, 'kept' | 'sources'>,
  mapNumbers = { nuMap: 1, kMaxMap: 1 },
): NativeMixRequest {
  const states = mixedStates(checked)
  return {
    ...crossing(mixOptions, checked),
    nu: nuOfStates(checked.nu, states),
    nuMap: nuMap && { cells: nuMap, number: mapNumbers.nuMap },
    kMaxMap: kMaxMap && { cells: kMaxMap, number: mapNumbers.kMaxMap },
    ...nativeMethod(checked.method),
    spacing: checked.spacing ?? '',
    guidanceFrom: checked.guidanceInterval[0],
    guidanceTo: checked.guidanceInterval[1],
    cacheEvery: checked.cache?.every ?? 1,
    cacheWhileMixing: checked.cache?.whileMixing ?? 1,
    cacheBlocks: checked.cache?.blocks ?? 1,
    ...prompts,
    ...{ width, height, loras },
    conditioning: nativeConditioning(checked.conditioning, { width, height }),
    layout: layout ? { pictures: layout } : { tokens: prompt as Int32Array },
  }
}

/** Calls of the UNet, as the engine makes them: state i is at fraction 1 - i / steps of the time. */
function stepsOf(request: CheckedMixRequest): MixPlan['steps'] {
  const { kMin, kMax, steps, kMaxMap, score } = request
  const indexAt = (k: number) => steps - Math.floor(k * steps + 1e-9)
  const first = indexAt(kMax)
  // A cell may stay the layout's to the end; a score looks at the layout's own picture.
  const lastLayout = kMaxMap || score ? steps : Math.max(first, indexAt(kMin) - 1)
  return {
    layout: isPrompt(layoutOf(request)) ? lastLayout : 0,
    content: steps - first,
    score: score ? callsOfScore : 0,
  }
}

function mixEvent(event: NativeProgress): ProgressEvent {
  const { stage, step, steps, timestep, etaMs, preview } = event
  return {
    stage: stage as ProgressEvent['stage'],
    step,
    steps,
    timestep,
    etaMs,
    ...(preview ? { preview } : {}),
  }
}

function loadEvent({ step, steps, etaMs }: NativeProgress): LoadProgressEvent {
  return { stage: 'load', step, steps, etaMs }
}
