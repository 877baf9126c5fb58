/** Progress events. */
import type { Picture } from './pixels.js'

/**
 * Is called with events while work goes on; it may return anything. If it throws, or the promise that it returns rejects, the
 * work is cancelled and rejects with that error.
 *
 * @example
 * ```ts
 * import type { ProgressEvent, ProgressListener } from 'magicmix'
 *
 * const onProgress: ProgressListener<ProgressEvent> = ({ stage, step, steps }) => {
 *   console.log(`${stage} ${step} of ${steps}`)
 * }
 * await mixer.mix({ ...request, onProgress })
 * ```
 */
export type ProgressListener<Event> = (event: Event) => unknown

/**
 * An event of {@link MixRequest.onProgress}.
 *
 * @example
 * ```ts
 * await mixer.mix({
 *   ...request,
 *   previewEvery: 10,
 *   onProgress: ({ stage, step, steps, etaMs, preview }) => {
 *     console.log(`${stage} ${step} of ${steps}, ${(etaMs / 1000).toFixed(1)} s left`)
 *     if (preview) console.log(`a preview of ${preview.width} x ${preview.height}`)
 *   },
 * })
 * ```
 */
export interface ProgressEvent {
  /**
   * 'download': a LoRA comes from the hub; 'queued': other mixes come first; 'encode': the picture and the prompts are encoded; 'layout': the
   * layout of a layout prompt is made; 'content': the steps of the mix; 'score': it is judged; 'decode': the latent is
   * decoded to pixels.
   */
  stage: 'download' | 'queued' | 'encode' | 'layout' | 'content' | 'score' | 'decode'
  /** Steps of this stage that are done; of 'download' files. */
  step: number
  /** Steps that this stage has. */
  steps: number
  /** Training timestep (0..999) of the step just done; 0 where there is none. */
  timestep: number
  /** Estimated time to the end of the whole mix in ms; 0 while unknown. */
  etaMs: number
  /** Of 'queued': the mixes that come first, the one that runs among them. */
  position?: number
  /** Of 'download': what comes, and how much of it is there. */
  download?: DownloadProgressEvent
  /**
   * A rough picture of the coming one, if `previewEvery` asks for it: RGB `[height/8, width/8, 3]`, one
   * pixel per latent cell; or, if the model was loaded with a `tinyDecoder`, `[height, width, 3]`.
   */
  preview?: Picture
}

/**
 * An event of {@link SweepRequest.onProgress}: that of the cell that is made, and how far the whole sweep is.
 *
 * @example
 * ```ts
 * const sweep = mixer.sweep({
 *   ...request,
 *   vary: { nu: [0.3, 0.9] },
 *   onProgress: ({ cell, cells, unetCalls }) =>
 *     console.log(`nu ${String(cell.at.nu)}: ${cells.done} of ${cells.all} cells, call ${unetCalls.done}`),
 * })
 * for await (const { mix, index } of sweep) await mix.toFile(`cell-${index}.png`)
 * ```
 */
export interface SweepProgressEvent extends ProgressEvent {
  /** Estimated time to the end of the whole sweep in ms; 0 while unknown. */
  etaMs: number
  /** The cell that is made, of a batch the first: its place on the sheet, and the values of the varied options. */
  cell: {
    /** Row by row from the top left, from 0. */
    index: number
    /** By the names of the options. */
    at: Readonly<Record<string, unknown>>
  }
  /** Cells of the sweep. */
  cells: {
    /** Those that are there. */
    done: number
    /** Those of the whole sheet. */
    all: number
  }
  /** Calls of the UNet of the whole sweep, as {@link Sweep.plan} counts them. */
  unetCalls: {
    /** Those that are computed. */
    done: number
    /** Those of the whole sweep. */
    all: number
  }
}

/**
 * An event of {@link LoadOptions.onProgress}.
 *
 * @example
 * ```ts
 * import { type LoadProgressEvent, MagicMix } from 'magicmix'
 *
 * const onProgress = (event: LoadProgressEvent) => {
 *   if (event.stage === 'download') console.log(event.file, event.bytes, event.totalBytes)
 *   else console.log(`weights: ${event.step} of ${event.steps}`)
 * }
 * await using mixer = await MagicMix.load({ onProgress })
 * ```
 */
export type LoadProgressEvent = WeightsProgressEvent | DownloadProgressEvent

/**
 * The weights are being read.
 *
 * @example
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * await using mixer = await MagicMix.load({
 *   onProgress: (event) => {
 *     if (event.stage === 'load') console.log(`${((100 * event.step) / event.steps).toFixed()} %`)
 *   },
 * })
 * ```
 */
export interface WeightsProgressEvent {
  /** The kind of event. */
  stage: 'load'
  /** Steps of loading that are done. */
  step: number
  /** How many there are. */
  steps: number
  /** Estimated time to the end in ms; 0 while unknown. */
  etaMs: number
}

/**
 * An event of {@link ConvertOptions.onProgress}.
 *
 * @example
 * ```ts
 * import { type ConvertProgressEvent, convert } from 'magicmix'
 *
 * const onProgress = (event: ConvertProgressEvent) => {
 *   if (event.stage === 'download') console.log(event.file, event.bytes, event.totalBytes)
 *   else console.log(`tensors: ${event.step} of ${event.steps}`)
 * }
 * await convert({ input: mixer.model.path, output: 'told.gguf', onProgress })
 * ```
 */
export type ConvertProgressEvent = TensorsProgressEvent | DownloadProgressEvent

/**
 * Tensors are being written.
 *
 * @example
 * ```ts
 * import { convert } from 'magicmix'
 *
 * await convert({
 *   input: mixer.model.path, output: 'written.safetensors',
 *   onProgress: (event) => {
 *     if (event.stage === 'convert') console.log(`tensor ${event.step} of ${event.steps}`)
 *   },
 * })
 * ```
 */
export interface TensorsProgressEvent {
  /** The kind of event. */
  stage: 'convert'
  /** Tensors that are written. */
  step: number
  /** How many there are. */
  steps: number
  /** Estimated time to the end in ms; 0 while unknown. */
  etaMs: number
}

/**
 * A licence as the hub declares it.
 *
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { pull } from 'magicmix'
 *
 * const { license } = await pull('sd1.5')
 * if (license) console.log(`${license.name}, see ${license.url}`) // CreativeML OpenRAIL-M, see https://...
 * ```
 */
export interface ModelLicense {
  /** Its name: 'CreativeML OpenRAIL-M'. */
  readonly name: string
  /** Where to read it. */
  readonly url: string
}

/**
 * A model, LoRA, embedding or VAE comes from the hub. The first event comes before anything is downloaded.
 *
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { pull } from 'magicmix'
 *
 * await pull('sd1.5', {
 *   onProgress: ({ file, bytes, totalBytes, bytesPerSecond, etaMs }) => {
 *     console.log(`${file}: ${bytes} of ${totalBytes} bytes, ${(bytesPerSecond / 1e6).toFixed(1)} MB/s`)
 *     console.log(`${(etaMs / 1000).toFixed()} s left`)
 *   },
 * })
 * ```
 */
export interface DownloadProgressEvent {
  /** The kind of event. */
  stage: 'download'
  /** 'ORG/NAME' */
  repo: string
  /** The model's licence and where to read it, as far as known. */
  license: ModelLicense | null
  /** Path in the repository of the file that is coming. */
  file: string
  /** Files that are done. */
  step: number
  /** Files that have to be downloaded. */
  steps: number
  /** Bytes of them that are there; fewer than before if a server cannot resume a file. */
  bytes: number
  /** Bytes that there will be. */
  totalBytes: number
  /** Mean rate since the start; 0 while unknown. */
  bytesPerSecond: number
  /** Estimated time to the end in ms; 0 while unknown. */
  etaMs: number
}
