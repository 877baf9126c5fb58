/** The class that users work with: a loaded model that mixes. */
import { tokenScales } from './input/attention.js'
import { isPrompt } from './input/layout.js'
import { readPicture, sizeOfMix } from './input/picture.js'
import { useDevice } from './devices/devices.js'
import { MagicMixError, calledFrom, callSite } from './errors.js'
import { resolveModel } from './hub/pull.js'
import { Mix } from './mix.js'
import type { FilledLora } from './input/lora.js'
import { ClipTokens, type Token, beginningOf, contextOf } from './input/tokens.js'
import { type LoadOptions, checkLoadOptions } from './models/load-options.js'
import { type ModelInfo, frozen } from './models/model-info.js'
import type { NativeMixRequest, NativeMixer, NativeProgress } from './native/contract.js'
import { refuseAborted, runJob } from './native/job.js'
import { native } from './native/native.js'
import type { LoadProgressEvent, ProgressEvent } from './progress.js'
import {
  type CheckedMixRequest,
  type FilledMixRequest,
  type MixRequest,
  checkRequest,
  mixOptions,
} from './request/mix-options.js'
import { crossing } from './options/option.js'
import type { Recipe } from './request/recipe.js'

/** How busy a mixer is. */
export interface Queue {
  /** Mixes that the engine works on: 0 or 1. */
  readonly running: number
  /** Mixes that wait for it, or whose layout is being read. */
  readonly waiting: number
}

/** The size and the steps of a mix, as {@link MagicMix.check} reports them. */
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
  }
}

/**
 * A loaded model that mixes pictures. Any number of mixes may be asked for at a time; they run one
 * after the other, first come, first served, on the model's own thread.
 *
 * @example
 * ```ts
 * await using mixer = await MagicMix.load({ model: 'sd-v1-4.safetensors' })
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
  /** Mixes that have not ended, and those of them that the engine has. */
  private pending = 0
  private submitted = 0
  /** Resolves when the layout of every mix so far has been read, or could not be. */
  private layoutsRead: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly native: NativeMixer,
    tokens: ClipTokens,
    private readonly loras: FilledLora[],
    private readonly maxQueue: number,
    private readonly loadTime: number,
  ) {
    this.model = frozen(native.info)
    const { embeddings, sizes } = this.model
    this.tokens = tokens.withLearnt(embeddings, sizes.textEncoder.vocabulary)
  }

  /**
   * Loads a model.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, MODEL_NOT_FOUND, MODEL_FORMAT,
   * MODEL_UNSUPPORTED, CONFIG_NEEDED, DEVICE_UNAVAILABLE, OUT_OF_MEMORY, ADDON_UNAVAILABLE; for a
   * model from the hub also ACCESS_DENIED, DOWNLOAD_FAILED, DOWNLOAD_DAMAGED, DISK_FULL; or the
   * signal's reason
   * @example
   * ```ts
   * await using mixer = await MagicMix.load({ model: 'hf:sd1.5', precision: 'auto' })
   * ```
   */
  static async load(options: LoadOptions = {}): Promise<MagicMix> {
    return calledFrom(MagicMix.load, async () => {
      const { native: nativeOptions, maxQueue = Infinity, ...watch } = checkLoadOptions(options)
      const addon = native()
      refuseAborted(watch.signal)
      const model = await resolveModel(nativeOptions.model, watch)
      const started = performance.now()
      const tokens = await ClipTokens.load()
      const device = await useDevice(nativeOptions.device)
      const mixer = await runJob(
        (report) => addon.load({ ...nativeOptions, model, device }, report),
        loadEvent,
        watch,
        (unwanted) => unwanted.dispose(),
      )
      const loadTime = performance.now() - started
      return new MagicMix(mixer, tokens, nativeOptions.loras, maxQueue, loadTime)
    })
  }

  /** The numbers of mixes that run and wait now. */
  get queue(): Queue {
    const running = Math.min(1, this.submitted)
    return { running, waiting: this.pending - running }
  }

  /**
   * Mixes the content into the layout.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, PROMPT_TOO_LONG,
   * PHRASE_NOT_FOUND, PHRASE_TRUNCATED, PICTURE_UNREADABLE, QUEUE_FULL, OUT_OF_MEMORY, NOT_FINITE,
   * DEVICE_FAILED, DISPOSED; for `loras` also MODEL_NOT_FOUND, MODEL_FORMAT, MODEL_UNSUPPORTED; or the
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
      const prompts = this.tokenizePrompts(checked)
      this.refuseFullQueue()

      this.pending++
      try {
        const layout = await this.inOrder(readLayout(checked, this.model.nativeSize))
        this.refuseDisposed()
        const filled = fill(checked, layout.size, this.loras)
        const crossed = nativeRequest(checked, filled, prompts, layout)
        const result = await this.submit(crossed, checked)
        const total = performance.now() - started
        return Mix.of(filled, result, { load: this.loadTime, total })
      } finally {
        this.pending--
      }
    })
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
      this.tokenizePrompts(checked)
      const { layout, width, height } = checked
      const { nativeSize } = this.model
      const size = isPrompt(layout)
        ? { width: width ?? nativeSize, height: height ?? nativeSize }
        : await sizeOfMix(layout, { ...checked, nativeSize })
      return { ...size, steps: stepsOf(checked) }
    })
  }

  /**
   * Shows how a text is cut into tokens: begin of text, the text's own tokens, end of text. It is
   * not cut off: a prompt fits if this gives at most 77.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, PROMPT_TOO_LONG (over 1000 characters), DISPOSED
   * @example
   * ```ts
   * mixer.tokenize('a photorealistic corgi').map(({ text }) => text)
   * // [ '<|startoftext|>', 'a', 'photo', 'realistic', 'corgi', '<|endoftext|>' ]
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
   */
  dispose(): Promise<void> {
    this.disposal ??= this.native.dispose()
    return this.disposal
  }

  /** For `await using`. The same as {@link dispose}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  private refuseDisposed(): void {
    if (this.disposal) throw new MagicMixError('DISPOSED', 'This mixer has been disposed of')
  }

  private refuseFullQueue(): void {
    const { waiting } = this.queue
    if (this.pending <= this.maxQueue) return
    throw new MagicMixError(
      'QUEUE_FULL',
      `${waiting} mixes wait already, and this mixer lets ${this.maxQueue} wait (maxQueue): try again later`,
      { waiting, maxQueue: this.maxQueue },
    )
  }

  private async submit(request: NativeMixRequest, watch: CheckedMixRequest) {
    this.submitted++
    try {
      return await runJob((report) => this.native.mix(request, report), mixEvent, watch)
    } finally {
      this.submitted--
    }
  }

  /** Pictures are read side by side, but no mix overtakes another on its way to the queue. */
  private inOrder(reading: Promise<Layout>): Promise<Layout> {
    const ignore = () => undefined
    reading.catch(ignore) // a failure is reported in turn
    const turn = this.layoutsRead.then(() => reading)
    this.layoutsRead = turn.catch(ignore)
    return turn
  }

  private tokenizePrompts(request: CheckedMixRequest): Prompts {
    const { layout, content, interpolate, negativePrompt, attention, truncate } = request
    const tokensOf = (text: string, name: string) =>
      this.tokens.tokensOf(truncate ? beginningOf(text) : text, name)
    const padding = this.model.sizes.textEncoder.padding
    const context = (text: string, name: string) =>
      contextOf(tokensOf(text, name), truncate, name, padding)

    const contentTokens = tokensOf(content, 'the content prompt')
    return {
      layout: isPrompt(layout) ? context(layout.prompt, 'the layout prompt') : null,
      content: contextOf(contentTokens, truncate, 'the content prompt', padding),
      negativePrompt: context(negativePrompt, 'the negative prompt'),
      interpolate: interpolate && {
        tokens: context(interpolate.prompt, 'the prompt to interpolate with'),
        weight: interpolate.weight,
      },
      attention: tokenScales(attention, { text: content, tokens: contentTokens }, (phrase) =>
        tokensOf(phrase, 'a phrase of attention'),
      ),
    }
  }
}

type Prompts = Pick<
  NativeMixRequest,
  'content' | 'negativePrompt' | 'interpolate' | 'attention'
> & {
  layout: Int32Array | null
}

interface Layout {
  size: { width: number; height: number }
  /** RGB, or null for a layout prompt. */
  layoutPixels: Uint8Array | null
}

async function readLayout(request: CheckedMixRequest, nativeSize: number): Promise<Layout> {
  const { layout, width = nativeSize, height = nativeSize } = request
  if (isPrompt(layout)) return { size: { width, height }, layoutPixels: null }
  const { data, ...size } = await readPicture(layout, { ...request, nativeSize })
  return { size, layoutPixels: data }
}

function fill(
  request: CheckedMixRequest,
  size: Layout['size'],
  loras: FilledLora[],
): FilledMixRequest {
  const { onProgress, signal, ...values } = request
  return { ...values, ...size, loras: request.loras ?? loras }
}

function nativeRequest(
  checked: CheckedMixRequest,
  { loras, width, height }: FilledMixRequest,
  { layout, ...prompts }: Prompts,
  { layoutPixels }: Layout,
): NativeMixRequest {
  return {
    ...crossing(mixOptions, checked),
    ...prompts,
    ...{ width, height, loras },
    layout: layoutPixels ? { pixels: layoutPixels } : { tokens: layout as Int32Array },
  }
}

/** Calls of the UNet, as the engine makes them: state i is at fraction 1 - i / steps of the time. */
function stepsOf({ layout, kMin, kMax, steps }: CheckedMixRequest): MixPlan['steps'] {
  const indexAt = (k: number) => steps - Math.floor(k * steps + 1e-9)
  const first = indexAt(kMax)
  const lastLayout = Math.max(first, indexAt(kMin) - 1)
  return { layout: isPrompt(layout) ? lastLayout : 0, content: steps - first }
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
