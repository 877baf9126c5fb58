/** Low-rank changes to a model's weights: what a user says of them. */
import {
  invalid,
  isRecord,
  nonEmptyText,
  numberBetween,
  refuseUnknownKeys,
} from '../request/validate.js'

/** A LoRA, and how strong it is. */
export interface Lora {
  /**
   * A file as kohya's scripts, PEFT or diffusers write it, LoRA or LoCon, for the UNet, the text
   * encoder or both.
   */
  file: string
  /** -10..10; 1 is as it was trained, 0 nothing of it. Default 1. */
  strength?: number | undefined
}

/** A {@link Lora} with its default filled in. */
export type FilledLora = Required<{ [K in keyof Lora]: Exclude<Lora[K], undefined> }>

/** Checks a list of LoRAs, whatever it is. */
export function checkLoras(value: unknown): FilledLora[] {
  if (!Array.isArray(value)) throw invalid('loras', 'a list of { file, strength }', value)
  return value.map((given: unknown, i) => {
    const name = `loras[${i}]`
    if (!isRecord(given)) throw invalid(name, 'an object { file, strength }', given)
    refuseUnknownKeys(given, ['file', 'strength'], name)
    return {
      file: nonEmptyText(given.file, `${name}.file`),
      strength: numberBetween(given.strength ?? 1, -10, 10, `${name}.strength`),
    }
  })
}
