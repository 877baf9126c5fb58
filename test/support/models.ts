/**
 * The formula-weight models that tests and benchmarks load, made once per checkout.
 *
 * They lie under node_modules/.cache, or in the folder that MAGICMIX_TEST_MODELS names; a file's
 * name carries a digest of what is in it, so that a changed formula makes a new file.
 */
import { createHash, randomUUID } from 'node:crypto'
import { access, mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'

import {
  formulaCheckpoint,
  formulaChunks,
  formulaTensors,
  sd15Config,
  sdxlConfig,
  tiny2Config,
  tinyConfig,
  tinyKoalaConfig,
  tinySsdConfig,
  tinyVegaConfig,
  tinyXlConfig,
  writeSafetensors,
} from './formula-model.js'
import type { FormulaConfig, Dtype } from './formula-model.js'
import { packageRoot } from './package-root.js'
import { writeDiffusersFolder } from './diffusers.js'
import type { DiffusersOptions } from './diffusers.js'
import { writeXlFolder } from './diffusers-xl.js'
import type { XlFolderOptions } from './diffusers-xl.js'

/** What the tiny single file cannot tell; pass it to `MagicMix.load` with {@link tinyModel}. */
export const tinyHeads = { unet: { heads: 4 }, textEncoder: { heads: 2 } }

/** Path of the tiny model as a single file of about 27 MB (F16). */
export function tinyModel(dtype: Dtype = 'F16'): Promise<string> {
  return singleFile('tiny', tinyConfig, dtype)
}

/** What the file of {@link tiny2Model} cannot tell, but for what its UNet predicts. */
export const tiny2Heads = { unet: { headWidth: 16 }, textEncoder: { heads: 2 } }

/** Path of the tiny model in the manner of Stable Diffusion 2.x, a single file. */
export function tiny2Model(dtype: Dtype = 'F16'): Promise<string> {
  return singleFile('tiny2', tiny2Config, dtype)
}

/** Path of a model with the sizes of SD 1.5, a single file of 2.1 GB (F16). */
export function sd15Model(dtype: Dtype = 'F16'): Promise<string> {
  return singleFile('sd15', sd15Config, dtype)
}

/** What the file of {@link tinyXlModel} cannot tell. */
export const tinyXlHeads = {
  unet: { headWidth: 16 },
  textEncoder: { heads: 4 },
  textEncoder2: { heads: 6 },
}

/** Path of the tiny model in the manner of Stable Diffusion XL, a single file of 32 MB (F16). */
export function tinyXlModel(dtype: Dtype = 'F16'): Promise<string> {
  return singleFile('tiny-xl', tinyXlConfig, dtype)
}

/** Path of a tiny model in the manner of a distilled XL, a single file (F16). */
export function distilledXlModel(name: keyof typeof distilledXl): Promise<string> {
  return singleFile(`tiny-${name}`, distilledXl[name], 'F16')
}

/** The tiny models in the manner of SSD-1B, Segmind Vega and KOALA-700M. */
export const distilledXl = { ssd: tinySsdConfig, vega: tinyVegaConfig, koala: tinyKoalaConfig }

/** Path of a tiny model in the manner of XL as a diffusers folder. */
export function tinyXlDiffusers(options: XlFolderOptions = {}): Promise<string> {
  const name = ['tiny-xl-diffusers', digestOf(options), digest(options.config ?? tinyXlConfig)]
  return made(name.join('-'), (target) => writeXlFolder(target, options))
}

/** Path of a model with the sizes of Stable Diffusion XL, a single file of 6.9 GB (F16). */
export function sdxlModel(dtype: Dtype = 'F16'): Promise<string> {
  return singleFile('sdxl', sdxlConfig, dtype)
}

/** Path of the tiny model as a diffusers folder. */
export function tinyDiffusers(options: DiffusersOptions = {}): Promise<string> {
  const variant = Object.entries(options).flat().map(String)
  const config = options.sd2 ? tiny2Config : tinyConfig
  const name = ['tiny-diffusers', ...variant, digest(config)].join('-')
  return made(name, (target) => writeDiffusersFolder(target, options))
}

function singleFile(name: string, config: FormulaConfig, dtype: Dtype): Promise<string> {
  const file = `${name}-${dtype.toLowerCase()}-${digest(config)}.safetensors`
  return made(file, (target) => writeSafetensors(target, formulaCheckpoint(config, dtype)))
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 8)
}

/** Depends on every name and shape, and, through one tensor's bytes, on the formula. */
function digest(config: FormulaConfig): string {
  const hash = createHash('sha256').update(JSON.stringify(formulaTensors(config)))
  for (const chunk of formulaChunks({ name: 'probe.weight', shape: [16, 16] }, 'F16')) {
    hash.update(chunk)
  }
  return hash.digest('hex').slice(0, 8)
}

const underway = new Map<string, Promise<string>>()

/** Makes a file or folder of the cache unless it is there, and never shows it half made. */
export function made(name: string, make: (target: string) => Promise<void>): Promise<string> {
  let promise = underway.get(name)
  if (promise === undefined) {
    promise = makeOnce(name, make)
    underway.set(name, promise)
  }
  return promise
}

async function makeOnce(name: string, make: (target: string) => Promise<void>): Promise<string> {
  const folder = cacheFolder()
  const finished = path.join(folder, name)
  if (await exists(finished)) return finished
  await mkdir(folder, { recursive: true })
  const unfinished = `${finished}.${randomUUID()}`
  try {
    await make(unfinished)
    await rename(unfinished, finished)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    // another process may have been faster
    if (!(await exists(finished))) throw error
  }
  return finished
}

function cacheFolder(): string {
  return (
    process.env['MAGICMIX_TEST_MODELS'] ??
    path.join(packageRoot, 'node_modules', '.cache', 'magicmix')
  )
}

async function exists(target: string): Promise<boolean> {
  return access(target).then(
    () => true,
    () => false,
  )
}
