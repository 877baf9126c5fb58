/** `magicmix replay`: makes a picture again by the recipe that it carries. */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'

import { MagicMixError } from '../errors.js'
import { resolveLoras } from '../hub/pull.js'
import type { Lora } from '../input/lora.js'
import type { MagicMix } from '../mixer.js'
import type { LoadOptions } from '../models/load-options.js'
import { modelInTheBox } from '../package-files.js'
import { type Difference, differencesInMaking, differencesInModel } from '../recipe/differences.js'
import { type PictureRecipe, lorasOf } from '../recipe/picture-recipe.js'
import { readRecipe } from '../recipe/read.js'
import { nameOf, withoutMagicMix } from '../request/method.js'
import { type MixRequest, checkRequest, mixOptions } from '../request/mix-options.js'
import { type Arguments, type Command, type Values, UsageError, textOption } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { makeFile, outputFlag, outputOf, standard } from './mix.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { shown } from './show-recipe.js'

export const command: Command = {
  name: 'replay',
  usage: 'replay [options] PICTURE',
  summary: 'make a picture again by the recipe that it carries, or with changes',
  about: `Mixes once more as PICTURE was mixed: on the same kind of machine it gives the same bytes. Options of
mix change one thing or another. What the recipe names, such as its layout, is looked for beside
PICTURE and in this folder; what is elsewhere, or on the hub, has to be named again (--layout, --model,
--vae, --lora ...). What is not the same as it was is told before it starts.`,
  examples: [
    'magicmix replay mix.png',
    `# less of the content, and another layout
magicmix replay mix.png --nu 0.5 --layout dachshund.jpg -o other.png`,
  ],
  options: {
    ...outputFlag('replay, in the format of PICTURE'),
    layout: { type: 'string', value: 'FILE', help: 'the layout, instead of that of the recipe' },
    'layout-prompt': { type: 'string', value: 'TEXT', help: 'the same as a prompt' },
    content: { type: 'string', value: 'TEXT', help: 'another content' },
    ...loadFlags,
    ...flagsOf(mixOptions),
  },
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const [picture, ...more] = positionals
  if (picture === undefined || more.length > 0) {
    throw new UsageError(`Expected one PICTURE but received ${positionals.length} arguments`)
  }
  const file = await outputOf(values, `replay${extensionLike(picture)}`)
  const recipe = await readRecipe(picture === standard ? await buffer(process.stdin) : picture)
  const pantry = new Pantry(picture)
  const warnings: Difference[] = []
  const request = changed(recipe, values)
  const layout = await layoutFor(recipe, values, pantry)
  warnings.push(...layout.differences)
  const loras = values.lora ? request.loras : await lorasFor(recipe, pantry)
  const whole: MixRequest = { ...request, layout: layout.layout, loras }
  checkRequest(whole)
  const options = await loadOptionsFor(recipe, values, pantry)
  for (const difference of warnings) warn(difference)
  await makeFile({
    ...{ request: whole, options, file, values, signal },
    beforeMixing: async (mixer) => {
      const found = await compare(recipe, mixer, whole, signal)
      for (const difference of found) {
        if (difference.flag && values[difference.flag] === undefined) {
          throw mismatch(difference, picture)
        }
        warn(difference)
        warnings.push(difference)
      }
      return { differences: warnings }
    },
  })
}

/** Formats that can be written, like the one of the picture. */
function extensionLike(picture: string): string {
  const extension = path.extname(picture).toLowerCase()
  return /^\.(jpe?g|webp|avif|tiff?)$/.test(extension) ? extension : '.png'
}

/** The request with what the command line says instead. */
function changed({ request }: PictureRecipe, values: Values): Omit<MixRequest, 'layout'> {
  const { layout, ...rest } = request
  const changes = optionsFrom(mixOptions, values)
  // A set stands for these, and they would win over it.
  const { cache, guidanceInterval, ...others } = rest
  let base: Record<string, unknown> = changes.fast === undefined ? rest : others
  const { method = rest.method } = changes as Pick<MixRequest, 'method'>
  // Its numbers mean nothing to another one, and what stands for them there nothing to MagicMix.
  if (nameOf(method ?? 'magicmix') !== nameOf(rest.method ?? 'magicmix'))
    base = withoutMagicMix(base)
  const content = textOption(values, 'content')
  const changed = { ...base, ...changes, ...(content === undefined ? {} : { content }) }
  return changed as Omit<MixRequest, 'layout'>
}

// -------------------------------------------------------------------------------------------------
// What the recipe names

/** Where things are looked for by their names: beside the picture, and here. */
class Pantry {
  constructor(private readonly picture: string) {}

  /** A name is none of a folder: that was checked. */
  async find(name: string): Promise<string | undefined> {
    return (await this.all(name))[0]
  }

  async all(name: string): Promise<string[]> {
    if (name.startsWith('hf:')) return []
    const places = new Set([path.join(path.dirname(this.picture), name), name])
    const found: string[] = []
    for (const file of places) if (await stat(file).catch(() => undefined)) found.push(file)
    return found
  }

  async need(what: string, name: string, flag: string): Promise<string> {
    const found = await this.find(name)
    if (found !== undefined) return found
    throw new MagicMixError(
      'RECIPE_MISMATCH',
      `The recipe in ${shown(this.picture)} names ${what} ${shown(name)}, ` +
        (name.startsWith('hf:')
          ? `which is not fetched on its word: name it with ${flag}`
          : `which is neither beside it nor in this folder: name it with ${flag}`),
      { what, recipe: name },
    )
  }

  get name(): string {
    return this.picture
  }
}

interface Layout {
  layout: MixRequest['layout']
  differences: Difference[]
}

async function layoutFor(recipe: PictureRecipe, values: Values, pantry: Pantry): Promise<Layout> {
  const { layout: source } = recipe
  const prompt = textOption(values, 'layout-prompt')
  const given = textOption(values, 'layout')
  if (prompt !== undefined && given !== undefined) {
    throw new UsageError('Expected either --layout or --layout-prompt')
  }
  if (prompt !== undefined) return { layout: { prompt }, differences: [] }
  if (given !== undefined) {
    const layout = given === standard ? await buffer(process.stdin) : given
    // Pixels cannot be told from a file.
    if (source?.of !== 'file') return { layout, differences: [] }
    const here = await sha256Of(layout)
    const differs = here !== undefined && here !== source.sha256
    const difference = { what: 'the layout picture', recipe: source.sha256, here: here ?? '' }
    return { layout, differences: differs ? [difference] : [] }
  }
  if (source === null) return { layout: recipe.request.layout, differences: [] }

  const { path: name } = recipe.request.layout as { path?: string }
  if (name === undefined) {
    throw new MagicMixError(
      'RECIPE_MISMATCH',
      `The layout in the recipe of ${shown(pantry.name)} has no name, only the SHA-256 ${source.sha256}: ` +
        'name its picture with --layout FILE',
      { what: 'layout', recipe: source.sha256 },
    )
  }
  const layout = await pantry.need('the layout', name, '--layout FILE')
  for (const each of await pantry.all(name)) {
    if ((await sha256Of(each)) === source.sha256) return { layout: each, differences: [] }
  }
  const here = await sha256Of(layout)
  if (source.of === 'file' && here !== undefined && here !== source.sha256) {
    throw new MagicMixError(
      'RECIPE_MISMATCH',
      `${shown(layout)} is another picture than the layout of ${shown(pantry.name)} was (SHA-256 ${here}, not ` +
        `${source.sha256}); --layout ${shown(layout)} takes it all the same`,
      { what: 'layout', recipe: source.sha256, here },
    )
  }
  return { layout, differences: [] }
}

/** Nothing of a file that cannot be read: the reader of pictures says why. */
async function sha256Of(picture: string | Buffer): Promise<string | undefined> {
  try {
    const bytes = typeof picture === 'string' ? await readFile(picture) : picture
    return createHash('sha256').update(bytes).digest('hex')
  } catch {
    return undefined
  }
}

async function lorasFor({ request }: PictureRecipe, pantry: Pantry): Promise<Lora[]> {
  const loras: Lora[] = []
  for (const { file, strength } of request.loras ?? []) {
    const found = await pantry.need('the LoRA', file, `--lora FILE=${strength}`)
    loras.push({ file: found, strength })
  }
  return loras
}

async function loadOptionsFor(
  { model }: PictureRecipe,
  values: Values,
  pantry: Pantry,
): Promise<LoadOptions> {
  const { embeddings, vae, tinyDecoder, options } = model
  const given = loadOptionsFrom(values)
  const found: LoadOptions = { ...options }
  found.model = await modelFor(model.name, values, given, pantry)
  if (vae !== null && given.vae === undefined) {
    found.vae = await pantry.need('the autoencoder', vae, '--vae PATH')
  }
  if (tinyDecoder !== null && given.tinyDecoder === undefined) {
    found.tinyDecoder = await pantry.need(
      'the tiny decoder',
      tinyDecoder.name,
      '--tiny-decoder PATH',
    )
  }
  if (given.embeddings === undefined) {
    const files: Record<string, string> = {}
    for (const { placeholder, name } of embeddings) {
      const flag = `--embedding '${placeholder}=FILE'`
      files[placeholder] = await pantry.need('the embedding', name, flag)
    }
    if (embeddings.length > 0) found.embeddings = files
  }
  return { ...found, ...given, model: found.model }
}

async function modelFor(
  name: string,
  values: Values,
  given: LoadOptions,
  pantry: Pantry,
): Promise<string> {
  if (typeof values.model === 'string') return values.model
  if (given.model === name) return name // of the environment, which may name one of the hub
  if (name === path.basename(modelInTheBox)) return modelInTheBox
  const found = await pantry.find(name)
  return found ?? given.model ?? pantry.need('the model', name, `--model ${hubNameOr(name)}`)
}

function hubNameOr(name: string): string {
  return name.startsWith('hf:') ? name : 'PATH'
}

// -------------------------------------------------------------------------------------------------
// What is another

async function compare(
  recipe: PictureRecipe,
  mixer: MagicMix,
  request: MixRequest,
  signal: AbortSignal,
): Promise<Difference[]> {
  const { loras } = checkRequest(request)
  const named = loras ?? []
  const { model, made } = mixer.origin
  const here = {
    model: { ...model, loras: await lorasOf(named, await resolveLoras(named, { signal })) },
    made,
  }
  return [...differencesInModel(recipe, here), ...differencesInMaking(recipe, here)]
}

function warn({ what, recipe, here }: Difference): void {
  console.error(`Not as it was: ${what} (${shown(here)}, not ${shown(recipe)})`)
}

function mismatch({ what, flag, recipe, here }: Difference, picture: string): MagicMixError {
  return new MagicMixError(
    'RECIPE_MISMATCH',
    `What is here is not what ${shown(picture)} was made with: ${what} (${shown(here)}, not ${shown(recipe)}); ` +
      `name the right one, or what shall take its place, with --${flag}`,
    { what, recipe, here },
  )
}
