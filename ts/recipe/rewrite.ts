/** A picture of ours in another format. */
import { calledFrom } from '../errors.js'
import { oneOf } from '../options/validate.js'
import { sharp } from '../sharp.js'
import { type WrittenFormat, withRecipe, writtenFormats } from './carry.js'
import { readRecipe } from './read.js'

/**
 * The bytes of a picture that {@link Mix.toFile} or {@link Mix.toBuffer} wrote, in another format and with the recipe
 * that it carries: converters leave that out.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT, PICTURE_UNREADABLE, RECIPE_NOT_FOUND, RECIPE_INVALID; PICTURE_UNWRITABLE
 * for a recipe that a JPEG does not hold
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises'
 * import { rewritePicture } from 'magicmix'
 *
 * const mix = await mixer.mix(request)
 * await mix.toFile('mix.png')
 * await writeFile('mix.webp', await rewritePicture(await readFile('mix.png'), 'webp'))
 * ```
 */
export async function rewritePicture(
  picture: Uint8Array,
  format: WrittenFormat,
): Promise<ReturnType<typeof Buffer.alloc>> {
  return calledFrom(rewritePicture, async () => {
    oneOf(format, writtenFormats, 'format')
    return withRecipe(sharp(picture), format, await readRecipe(picture))
  })
}
