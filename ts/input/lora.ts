/** Low-rank changes to a model's weights. */
import { UsageError } from '../errors.js'
import { type Option, fileName, list, number, object } from '../options/option.js'

/**
 * A LoRA, and how strong it is.
 *
 * @example
 * <!-- snippet: types, needs a LoRA -->
 * ```ts
 * await mixer.mix({
 *   ...request,
 *   loras: [{ file: 'watercolour.safetensors', strength: 0.8 }, { file: 'hf:ORG/NAME' }],
 * })
 * ```
 */
export interface Lora {
  /**
   * A file as kohya's scripts, LyCORIS, PEFT, diffusers or ComfyUI write it, for the UNet, the text
   * encoder or both, or the folder that diffusers or PEFT saved. LoRA, LoCon, DoRA, LoHa, LoKr and
   * whole changes are read; an `adapter_config.json` beside an adapter counts. Or 'hf:' and what
   * {@link pull} takes, such as 'hf:ORG/NAME', or 'hf:ORG/NAME/FILE' where the repository has several:
   * it is downloaded unless it is in the cache.
   */
  file: string
  /** -10..10; 1 is as it was trained, 0 nothing of it. Default 1. */
  strength?: number | undefined
}

/**
 * A {@link Lora} with its default filled in.
 *
 * @example
 * <!-- snippet: types, needs a LoRA -->
 * ```ts
 * const { request: used } = await mixer.mix({ ...request, loras: [{ file: 'watercolour.safetensors' }] })
 * for (const { file, strength } of used.loras) console.log(file, strength) // watercolour.safetensors 1
 * ```
 */
export type FilledLora = { [K in keyof Lora]-?: Exclude<Lora[K], undefined> }

const loraOptions = {
  file: fileName({ help: 'the file, or hf:NAME', required: true }),
  strength: number(-10, 10, { help: '1 is as it was trained, 0 nothing of it', default: 1 }),
} satisfies Record<keyof Lora, Option>

/** The option `loras`, with a sentence of its own for every call that has it. */
export function loraList<const R extends { help: string; default?: FilledLora[] }>(row: R) {
  const cli = {
    flag: 'lora',
    value: 'FILE[=X]',
    help: 'a LoRA and its strength (1)',
    multiple: true as const,
    parse: parseLora,
  }
  return {
    ...list(object(loraOptions, { help: 'a LoRA' }), 'a list of { file, strength }', row),
    range: '`[{ file, strength }]`',
    cli,
  }
}

/** `style.safetensors=0.8`; a file's name may have a '=' in it. */
function parseLora(text: string): Lora {
  const [, file, strength] = /^(.+)=\s*(-?[\d.]+)\s*$/.exec(text) ?? []
  if (file === undefined) return { file: text }
  if (Number.isNaN(Number(strength))) {
    throw new UsageError(`Expected FILE=NUMBER for --lora but received '${text}'`)
  }
  return { file, strength: Number(strength) }
}
