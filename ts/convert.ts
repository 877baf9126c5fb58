/** From any checkpoint that is read to one file, in another type of weights. */
import { calledFrom } from './errors.js'
import { resolveModel } from './hub/pull.js'
import { type ConvertOptions, convertOptions } from './models/convert-options.js'
import { originalConfigOf } from './models/original-config.js'
import { refuseAborted, runJob } from './native/job.js'
import { native } from './native/native.js'
import { checkOptions, crossing } from './options/option.js'
import type { ConvertProgressEvent } from './progress.js'

/**
 * The file that {@link convert} has written.
 *
 * @example
 * ```ts
 * import { convert } from 'magicmix'
 *
 * const { path, bytes, tensors } = await convert({ input: mixer.model.path, output: 'world.gguf' })
 * console.log(`${path} has ${(bytes / 2 ** 20).toFixed(1)} MiB`, tensors) // 28.3 MiB { f16: 660 }
 * ```
 */
export interface Conversion {
  /** As `output` names it. */
  readonly path: string
  /** Size of the file. */
  readonly bytes: number
  /** Number of tensors written in each type. */
  readonly tensors: Readonly<Record<string, number>>
}

/**
 * Writes what mixing needs of a checkpoint as one file with the names of the original Stable
 * Diffusion. It works off the event loop and piece by piece, with little memory whatever the size
 * of the model. The output appears when it is complete, and not at all if something goes wrong.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, MODEL_NOT_FOUND, MODEL_FORMAT,
 * MODEL_UNSUPPORTED, DISK_FULL, FILE_UNWRITABLE; for a model from the hub also ACCESS_DENIED,
 * DOWNLOAD_FAILED, DOWNLOAD_DAMAGED; or the signal's reason; or what `onProgress` threw
 * @example
 * <!-- snippet: types, needs a checkpoint -->
 * ```ts
 * import { convert } from 'magicmix'
 *
 * await convert({ input: 'sd-v1-4.safetensors', output: 'sd-v1-4-q8_0.gguf', type: 'q8_0' })
 * ```
 */
export function convert(options: ConvertOptions): Promise<Conversion> {
  return calledFrom(convert, async () => {
    const checked = checkOptions(convertOptions, options, 'convert', '', 'the options of convert')
    refuseAborted(checked.signal)
    const input = await resolveModel(checked.input, checked)
    const vae = checked.vae && (await resolveModel(checked.vae, checked, 'vae'))
    const originalConfig = await originalConfigOf(input)
    const wanted = { ...crossing(convertOptions, checked), input, vae, originalConfig }
    return runJob(
      (report) => native().convert(wanted, report),
      ({ step, steps, etaMs }): ConvertProgressEvent => ({ stage: 'convert', step, steps, etaMs }),
      checked,
    )
  })
}
