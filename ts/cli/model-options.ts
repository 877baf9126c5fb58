/** The options of every command that reads a model. */
import type { LoadOptions, ModelConfig, Prediction } from '../models/model.js'
import { type Options, type Values, given, numberOption, textOption } from './command.js'

export const deviceOptions: Options = {
  device: { type: 'string', value: 'ID', help: "'auto', or one that `magicmix devices` lists" },
  precision: { type: 'string', value: 'TYPE', help: 'auto, f32, f16, bf16 or q8_0' },
  threads: { type: 'string', value: 'N', help: 'CPU threads (default: one a core)' },
}

export const modelOptions: Options = {
  model: {
    type: 'string',
    short: 'm',
    value: 'PATH',
    help: 'a file, a diffusers folder or hf:NAME (or MAGICMIX_MODEL; default: the one in the box)',
  },
  ...deviceOptions,
}

/** What a single file cannot tell. */
export const configOptions: Options = {
  'unet-heads': { type: 'string', value: 'N', help: 'attention heads of a small UNet' },
  prediction: { type: 'string', value: 'TYPE', help: 'of the UNet: epsilon or v_prediction' },
  'text-heads': { type: 'string', value: 'N', help: 'attention heads of a small text encoder' },
}

export function loadOptions(values: Values): LoadOptions {
  const model = (textOption(values, 'model') ?? process.env.MAGICMIX_MODEL) || undefined
  return { model, config: modelConfig(values), ...deviceChoice(values) }
}

export function deviceChoice(
  values: Values,
): Pick<LoadOptions, 'device' | 'precision' | 'threads'> {
  return {
    device: textOption(values, 'device'),
    precision: textOption(values, 'precision') as LoadOptions['precision'],
    threads: numberOption(values, 'threads'),
  }
}

export function modelConfig(values: Values): ModelConfig {
  return {
    unet: given({
      heads: numberOption(values, 'unet-heads'),
      prediction: textOption(values, 'prediction') as Prediction | undefined,
    }),
    textEncoder: given({ heads: numberOption(values, 'text-heads') }),
  }
}
