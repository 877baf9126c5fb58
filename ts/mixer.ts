/** The class that users work with: a loaded model that mixes. */
import { tokenScales } from './input/attention.js'
import { useDevice } from './devices/devices.js'
import { MagicMixError, calledFrom, callSite } from './errors.js'
import { resolveModel } from './hub/pull.js'
import { refuseAborted, runJob } from './native/job.js'
import { Mix } from './mix.js'
import type { FilledLora } from './input/lora.js'
import { type LoadOptions, type ModelInfo, checkLoadOptions, modelInfo } from './models/model.js'
import {
  type NativeMixRequest,
  type NativeMixer,
  type NativeProgress,
  native as addon,
} from './native/contract.js'
import { readPicture } from './input/picture.js'
import type { LoadProgressEvent, ProgressEvent } from './progress.js'
import {
  type CheckedMixRequest,
  type FilledMixRequest,
  type MixRequest,
  checkRequest,
  isPrompt,
} from './request/request.js'
import { ClipTokens, type Token, beginningOf, contextOf } from './input/tokens.js'

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
  /** What is known of the model: family, sizes, parameters, precision, device, memory. */
  readonly model: ModelInfo
  /** Knows the placeholders of the model's embeddings. */
  private readonly tokens: ClipTokens
  private disposal: Promise<void> | undefined
  /** Resolves when the layout of every mix so far has been read, or could not be. */
  private layoutsRead: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly native: NativeMixer,
    tokens: ClipTokens,
    private readonly loras: FilledLora[],
    private readonly loadTime: number,
  ) {
    const { info } = native
    this.tokens = tokens.withLearnt(info.embeddings, info.sizes.textEncoder.vocabulary)
    this.model = modelInfo(info)
  }

  /**
   * Loads a model.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, MODEL_NOT_FOUND, MODEL_FORMAT,
   * MODEL_UNSUPPORTED, CONFIG_NEEDED, DEVICE_UNAVAILABLE, OUT_OF_MEMORY; for a model from the hub
   * also ACCESS_DENIED, DOWNLOAD_FAILED, DOWNLOAD_DAMAGED, DISK_FULL; or the signal's reason
   */
  static async load(options: LoadOptions = {}): Promise<MagicMix> {
    return calledFrom(MagicMix.load, async () => {
      const { native: nativeOptions, ...watch } = checkLoadOptions(options)
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
      return new MagicMix(mixer, tokens, nativeOptions.loras, performance.now() - started)
    })
  }

  /**
   * Mixes the content into the layout.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, PROMPT_TOO_LONG,
   * PHRASE_NOT_FOUND, PHRASE_TRUNCATED, PICTURE_UNREADABLE, OUT_OF_MEMORY, NOT_FINITE, DISPOSED;
   * for `loras` also MODEL_NOT_FOUND, MODEL_FORMAT, MODEL_UNSUPPORTED; or the signal's reason; or
   * what `onProgress` threw
   */
  async mix(request: MixRequest): Promise<Mix> {
    return calledFrom(MagicMix.prototype.mix, async () => {
      const started = performance.now()
      const checked = checkRequest(request)
      this.refuseDisposed()
      refuseAborted(checked.signal)

      const prompts = this.tokenizePrompts(checked)
      const { size, layoutPixels } = await this.inOrder(readLayout(checked, this.model.nativeSize))
      this.refuseDisposed()

      const filled = fill(checked, size, this.loras)
      const result = await runJob(
        (report) => this.native.mix(nativeRequest(filled, prompts, layoutPixels), report),
        mixEvent,
        checked,
      )
      const total = performance.now() - started
      return Mix.of(filled, result, { load: this.loadTime, total })
    })
  }

  /**
   * Shows how a text is cut into tokens: begin of text, the text's own tokens, end of text. It is
   * not cut off: a prompt fits if this gives at most 77.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT, PROMPT_TOO_LONG (over 1000 characters), DISPOSED
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

  /** Pictures are read side by side, but no mix overtakes another on its way to the queue. */
  private inOrder(reading: Promise<Layout>): Promise<Layout> {
    const ignore = () => undefined
    reading.catch(ignore) // a failure is told when its turn has come
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
  request: FilledMixRequest,
  prompts: Prompts,
  layoutPixels: Uint8Array | null,
): NativeMixRequest {
  const { width, height, kMin, kMax, nu, guidanceScale, eta, steps, seed, trace } = request
  return {
    ...prompts,
    layout: layoutPixels ? { pixels: layoutPixels } : { tokens: prompts.layout as Int32Array },
    ...{ width, height, kMin, kMax, nu, guidanceScale, eta, steps, seed, trace },
    sampler: 'ddim',
    loras: request.loras,
    previewEvery: request.preview,
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
