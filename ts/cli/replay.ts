/** `magicmix replay`: makes a picture again by the recipe that it carries. */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'

import { MagicMixError } from '../errors.js'
import { resolveLoras } from '../hub/pull.js'
import { isPrompt } from '../input/layout.js'
import type { Lora } from '../input/lora.js'
import type { PictureSource } from '../input/picture.js'
import type { MagicMix } from '../mixer.js'
import type { LoadOptions } from '../models/load-options.js'
import { modelInTheBox } from '../package-files.js'
import { type Difference, differencesInMaking, differencesInModel } from '../recipe/differences.js'
import { type PictureRecipe, lorasOf } from '../recipe/picture-recipe.js'
import { readRecipe } from '../recipe/read.js'
import { nameOf, withoutMagicMix } from '../request/method.js'
import { type MixRequest, checkRequest, mixOptions } from '../request/mix-options.js'
import type { JsonPicture } from '../request/recipe.js'
import { type Arguments, type Command, type Values, UsageError, textOption } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { makeFile, outputFlag, outputOf, standard } from './mix.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { shown } from './show-recipe.js'

/** More layouts and contents than the recipe has would be another mix. */
const { layouts: _layouts, contents: _contents, ...optionsOfReplay } = mixOptions

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
    ...flagsOf(optionsOfReplay),
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
  const pictures = await picturesFor(recipe, values, pantry)
  warnings.push(...pictures.differences)
  const loras = values.lora ? request.loras : await lorasFor(recipe, pantry)
  const whole = { ...request, ...pictures.options, loras } as MixRequest
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

/** The request with what the command line says instead; of its pictures only what that names. */
function changed({ request }: PictureRecipe, values: Values): Omit<MixRequest, 'layout'> {
  const { layout, layouts, nuMap, kMaxMap, ...rest } = request
  const changes = optionsFrom(optionsOfReplay, values)
  // A set stands for these, and they would win over it.
  const { cache, guidanceInterval, ...others } = rest
  let base: Record<string, unknown> = changes.fast === undefined ? rest : others
  const { method = rest.method } = changes as Pick<MixRequest, 'method'>
  // Its numbers mean nothing to another one, and what stands for them there nothing to MagicMix.
  if (nameOf(method ?? 'magicmix') !== nameOf(rest.method ?? 'magicmix'))
    base = withoutMagicMix(base)
  const content = textOption(values, 'content')
  const changed = {
    ...{ ...base, ...changes },
    ...(content === undefined ? {} : { content, contents: null }),
  }
  return changed
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

/** The options of a request that hold pictures. */
type PictureOptions = Pick<MixRequest, 'layout' | 'layouts' | 'nuMap' | 'kMaxMap'>

/** The pictures of the recipe, found again, and what the command line names instead. */
async function picturesFor(
  recipe: PictureRecipe,
  values: Values,
  pantry: Pantry,
): Promise<{ options: PictureOptions; differences: Difference[] }> {
  const { layout, layouts, nuMap, kMaxMap } = recipe.request
  const given = await givenLayout(recipe, values)
  const options: PictureOptions = { ...given?.options }
  if (!given) {
    options.layout = isPrompt(layout) ? layout : await found(layout, 'layout')
    if (layouts) {
      options.layouts = await Promise.all(
        layouts.map(async ({ picture, weight }, i) => {
          return { picture: (await found(picture, `layouts[${i}]`))!, weight }
        }),
      )
    }
  }
  // Those of the command line win over these.
  if (values['nu-map'] === undefined) options.nuMap = await found(nuMap, 'nuMap')
  if (values['k-max-map'] === undefined) options.kMaxMap = await found(kMaxMap, 'kMaxMap')
  return { options, differences: given?.differences ?? [] }

  async function found(picture: JsonPicture | null | undefined, place: string) {
    if (picture === null || picture === undefined) return undefined
    const source = place === 'layout' ? recipe.layout : recipe.pictures[place]
    return pictureFor(picture as { path?: string }, source!, place, pantry)
  }
}

/** What `--layout` or `--layout-prompt` says. */
async function givenLayout(
  { layout: source }: PictureRecipe,
  values: Values,
): Promise<{ options: PictureOptions; differences: Difference[] } | undefined> {
  const prompt = textOption(values, 'layout-prompt')
  const given = textOption(values, 'layout')
  if (prompt !== undefined && given !== undefined) {
    throw new UsageError('Expected either --layout or --layout-prompt')
  }
  if (prompt !== undefined) return { options: { layout: { prompt } }, differences: [] }
  if (given === undefined) return undefined

  const layout = given === standard ? await buffer(process.stdin) : given
  const options = { layout }
  // Pixels cannot be told from a file.
  if (source?.of !== 'file') return { options, differences: [] }
  const here = await sha256Of(layout)
  const differs = here !== undefined && here !== source.sha256
  const difference = { what: 'the layout picture', recipe: source.sha256, here: here ?? '' }
  return { options, differences: differs ? [difference] : [] }
}

const flagOfPicture: Readonly<Record<string, string>> = {
  nuMap: '--nu-map',
  kMaxMap: '--k-max-map',
}

async function pictureFor(
  { path: name }: { path?: string },
  source: PictureSource,
  place: string,
  pantry: Pantry,
): Promise<string> {
  const flag = flagOfPicture[place] ?? '--layout'
  const what = place.startsWith('layout') ? 'layout' : `picture of ${place}`
  if (name === undefined) {
    throw new MagicMixError(
      'RECIPE_MISMATCH',
      `The ${what} in the recipe of ${shown(pantry.name)} has no name, only the SHA-256 ${source.sha256}: ` +
        `name its picture with ${flag} FILE`,
      { what: place, recipe: source.sha256 },
    )
  }
  const picture = await pantry.need(`the ${what}`, name, `${flag} FILE`)
  for (const each of await pantry.all(name)) {
    if ((await sha256Of(each)) === source.sha256) return each
  }
  const here = await sha256Of(picture)
  if (source.of === 'file' && here !== undefined && here !== source.sha256) {
    throw new MagicMixError(
      'RECIPE_MISMATCH',
      `${shown(picture)} is another picture than the ${what} of ${shown(pantry.name)} was (SHA-256 ${here}, not ` +
        `${source.sha256}); ${flag} ${shown(picture)} takes it all the same`,
      { what: place, recipe: source.sha256, here },
    )
  }
  return picture
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
