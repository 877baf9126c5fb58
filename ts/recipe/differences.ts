/** What of a recipe is another here: with a difference the picture may be another, too. */
import type { Origin, PictureRecipe, RecipeFile } from './picture-recipe.js'

export interface Difference {
  /** In words: 'the UNet'. */
  what: string
  /** The flag of the command line that names another. */
  flag?: 'model' | 'vae' | 'tiny-decoder' | 'embedding' | 'lora'
  /** In the recipe, and here. */
  recipe: string
  here: string
}

/** Between the machine and the program of a recipe and those that are here. */
export function differencesInMaking(recipe: PictureRecipe, here: Origin): Difference[] {
  const words = {
    version: 'the version of magicmix',
    device: 'the device',
    kernels: 'the kernels',
    precision: 'the precision',
  }
  return keysOf(words)
    .filter((key) => recipe.made[key] !== here.made[key])
    .map((key) => ({ what: words[key], recipe: recipe.made[key], here: here.made[key] }))
}

/** Between the model, with what is added to it. */
export function differencesInModel(recipe: PictureRecipe, here: Origin): Difference[] {
  const [then, now] = [recipe.model, here.model]
  const differences: Difference[] = []
  const compare = (what: string, flag: Difference['flag'], before = 'none', after = 'none') => {
    if (before !== after) {
      differences.push({ what, recipe: before, here: after, ...(flag ? { flag } : {}) })
    }
  }
  const isOther = weightsOf(then) !== weightsOf(now)
  if (isOther) {
    const difference = {
      recipe: `${then.name}: ${weightsOf(then)}`,
      here: `${now.name}: ${weightsOf(now)}`,
    }
    differences.push({ what: 'the model', flag: 'model', ...difference })
  }
  // That of another model is another of course.
  if (!isOther || then.vae !== null || now.vae !== null) {
    compare('the autoencoder', now.vae ? 'vae' : 'model', then.hashes.vae, now.hashes.vae)
  }
  // It makes the picture only where it is asked to.
  if (recipe.request.decoder === 'tiny') {
    compare('the tiny decoder', 'tiny-decoder', then.tinyDecoder?.hash, now.tinyDecoder?.hash)
  }
  for (const { placeholder, hash } of then.embeddings) {
    const found = now.embeddings.find((each) => each.placeholder === placeholder)
    compare(`the embedding '${placeholder}'`, 'embedding', hash, found?.hash)
  }
  compare('the LoRAs', 'lora', hashesOf(then.loras), hashesOf(now.loras))
  compare('clipSkip', undefined, String(then.options.clipSkip), String(now.options.clipSkip))
  const { config: configThen } = then.options
  const { config: configNow } = now.options
  compare('the configuration', undefined, JSON.stringify(configThen), JSON.stringify(configNow))
  return differences
}

function weightsOf({ hashes }: Origin['model']): string {
  return `${hashes.textEncoder} ${hashes.unet}`
}

function hashesOf(files: readonly RecipeFile[]): string {
  return files.map(({ hash }) => hash).join(' ') || 'none'
}

function keysOf<T extends object>(value: T): (keyof T)[] {
  return Object.keys(value) as (keyof T)[]
}
