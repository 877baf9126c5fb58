/** The options of every command that reads a model. */
import { type LoadOptions, type ModelConfig, config, loadOptions } from '../models/load-options.js'
import type { Options, Values } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'

const { model, vae, tinyDecoder, clipSkip, device, precision, threads, embeddings } = loadOptions
const { releaseTextEncoders } = loadOptions
const modelRow = { ...model, defaultText: 'MAGICMIX_MODEL, or the one in the package' }
const deviceRows = { device, precision, threads }
const loadRows = {
  ...{ model: modelRow, vae, tinyDecoder, clipSkip, ...deviceRows, embeddings, config },
  releaseTextEncoders,
}

export const modelFlag: Options = flagsOf({ model: modelRow })
export const deviceFlags: Options = flagsOf(deviceRows)
export const configFlags: Options = flagsOf({ vae, tinyDecoder, config })
export const loadFlags: Options = flagsOf(loadRows)

export function deviceFrom(values: Values): Pick<LoadOptions, keyof typeof deviceRows> {
  return optionsFrom(deviceRows, values)
}

export function configFrom(values: Values): ModelConfig {
  return optionsFrom({ config }, values).config ?? {}
}

export function vaeFrom(values: Values): string | undefined {
  return values.vae as string | undefined
}

export function tinyDecoderFrom(values: Values): string | undefined {
  return values['tiny-decoder'] as string | undefined
}

/** `model` is undefined where neither the command line nor the environment names one. */
export function modelFrom(values: Values): string | undefined {
  return ((values.model as string | undefined) ?? process.env.MAGICMIX_MODEL) || undefined
}

export function loadOptionsFrom(values: Values): LoadOptions {
  return { ...optionsFrom(loadRows, values), model: modelFrom(values) }
}
