/** Reads the recipe that a picture carries. It believes nothing of what it finds there. */
import { MagicMixError, calledFrom } from '../errors.js'
import { fileBytes, keep } from '../input/picture-bytes.js'
import {
  type DeferredPicture,
  bufferOf,
  isBytes,
  isDeferred,
  isSharp,
  isUrl,
} from '../input/picture-forms.js'
import { problemOf, problemOfPath } from '../input/picture-problem.js'
import { nameOf } from '../input/picture.js'
import { invalid } from '../options/validate.js'
import { packageVersion } from '../package-files.js'
import { sharp } from '../sharp.js'
import { keyword, namespace } from './carried.js'
import { checkRecipe } from './check.js'
import type { PictureRecipe } from './picture-recipe.js'

/**
 * The file of a picture: a path, a `file:` or `data:` URL, its bytes, a `Blob`, a `Response` or a stream.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * import { type PictureFile, readRecipe } from 'magicmix'
 *
 * const mix = await mixer.mix(request)
 * await mix.toFile('mix.png')
 * const files: PictureFile[] = ['mix.png', await readFile('mix.png')] // or what `await fetch(url)` gives
 * for (const file of files) console.log((await readRecipe(file)).request.seed)
 * ```
 */
export type PictureFile = string | URL | Uint8Array | ArrayBuffer | DeferredPicture

/** Recipes have some thousand bytes. */
const mostBytes = 2 ** 20
const mostLevels = 12

/**
 * The recipe that a picture carries, as {@link Mix.toFile} writes it. It is checked like any request, but
 * it may come from anybody: look at it before you mix by one that is not yours, since its LoRAs may have to be downloaded.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT, PICTURE_UNREADABLE, RECIPE_NOT_FOUND, RECIPE_INVALID
 * @example
 * ```ts
 * import { readRecipe } from 'magicmix'
 *
 * const mix = await mixer.mix({ layout: 'heart.png', content: 'a photo of a tiger' })
 * await mix.toFile('mix.png')
 * const { request, model } = await readRecipe('mix.png')
 * console.log(model.name, request.content)
 * const again = await mixer.mix({ ...request, nu: 0.5 })
 * ```
 */
export async function readRecipe(picture: PictureFile): Promise<PictureRecipe> {
  return calledFrom(readRecipe, async () => {
    const text = textIn(await carried(checkFile(picture)))
    if (text === undefined) throw notFound(picture)
    return parsed(text, picture)
  })
}

function checkFile(picture: PictureFile): PictureFile {
  const isFile =
    (typeof picture === 'string' && picture !== '') ||
    isUrl(picture) ||
    isBytes(picture) ||
    (isDeferred(picture) && !isSharp(picture))
  if (!isFile) {
    throw invalid(
      'picture',
      'the file of a picture (path, file: or data: URL, Buffer, Uint8Array, ArrayBuffer, Blob, File, Response or stream)',
      picture,
    )
  }
  return picture
}

/** Where a recipe may be. */
interface Carried {
  /** Texts of a PNG. */
  comments?: readonly { keyword: string; text: string }[] | undefined
  xmp?: Buffer | undefined
}

async function carried(picture: PictureFile): Promise<Carried> {
  let bytes: Uint8Array | undefined
  try {
    const kept = (await keep(picture)) as string | Uint8Array | ArrayBuffer
    bytes = isBytes(kept) ? bufferOf(kept) : await fileBytes(kept)
    return await sharp(bytes, { limitInputPixels: false }).metadata()
  } catch (error) {
    if (error instanceof MagicMixError) throw error
    const problem =
      typeof picture === 'string' && !bytes
        ? problemOfPath(picture, error)
        : problemOf(error, bytes)
    throw new MagicMixError(
      'PICTURE_UNREADABLE',
      `The picture (${nameOf(picture)}) cannot be read: ${problem}`,
      { picture: nameOf(picture) },
      { cause: error },
    )
  }
}

function textIn({ comments, xmp }: Carried): string | undefined {
  return comments?.find((comment) => comment.keyword === keyword)?.text ?? (xmp && textInXmp(xmp))
}

/** XMP that other programs have written anew may have the value as an attribute, and another prefix. */
function textInXmp(bytes: Buffer): string | undefined {
  const xmp = bytes.toString('utf8')
  const declaration = new RegExp(`xmlns:([\\w-]{1,64})=["']${namespace.replaceAll('.', '\\.')}["']`)
  const prefix = declaration.exec(xmp)?.[1]
  if (prefix === undefined) return undefined
  const escaped =
    between(xmp, `<${prefix}:recipe>`, '<') ??
    between(xmp, `${prefix}:recipe="`, '"') ??
    between(xmp, `${prefix}:recipe='`, "'")
  return escaped?.replace(/&(#x?[\da-f]{1,6}|lt|gt|amp|quot|apos);/gi, (all, name: string) =>
    character(name.toLowerCase(), all),
  )
}

function between(text: string, begin: string, end: string): string | undefined {
  const at = text.indexOf(begin)
  if (at < 0) return undefined
  const until = text.indexOf(end, at + begin.length)
  return text.slice(at + begin.length, until < 0 ? undefined : until)
}

const entities: Readonly<Record<string, string>> = {
  ...{ lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" },
}

function character(name: string, otherwise: string): string {
  if (!name.startsWith('#')) return entities[name] ?? otherwise
  const code = name[1] === 'x' ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10)
  return code <= 0x10ffff ? String.fromCodePoint(code) : otherwise // NaN is not, either
}

function parsed(text: string, picture: PictureFile): PictureRecipe {
  let madeBy = ''
  try {
    if (text.length > mostBytes) throw new Error(`it has more than ${mostBytes / 2 ** 20} MiB`)
    const value = JSON.parse(text) as unknown
    if (levelsOf(value) > mostLevels) throw new Error(`it is nested more than ${mostLevels} deep`)
    madeBy = versionIn(value)
    return checkRecipe(value)
  } catch (error) {
    const problem = (error as Error).message
    throw new MagicMixError(
      'RECIPE_INVALID',
      `The recipe in the picture (${nameOf(picture)}) is not one that can be used: ${problem}${madeBy}`,
      { picture: nameOf(picture), problem },
      { cause: error },
    )
  }
}

function levelsOf(value: unknown): number {
  let level = 0
  let values = [value]
  while (values.length > 0 && level <= mostLevels) {
    level++
    values = values.flatMap((each) =>
      typeof each === 'object' && each !== null ? (Object.values(each) as unknown[]) : [],
    )
  }
  return level
}

/** Of a newer version it may be right. */
function versionIn(value: unknown): string {
  const { made } = Object(value) as { made?: unknown }
  const { version } = Object(made) as { version?: unknown }
  const own = packageVersion()
  const isVersion = typeof version === 'string' && /^[\w.+-]{1,40}$/.test(version)
  return isVersion && version !== own ? ` (made by magicmix ${version}; this is ${own})` : ''
}

function notFound(picture: PictureFile): MagicMixError {
  return new MagicMixError(
    'RECIPE_NOT_FOUND',
    `The picture (${nameOf(picture)}) carries no recipe: magicmix did not write it, or it was taken out ` +
      'on the way, as many programs and sites do',
    { picture: nameOf(picture) },
  )
}
