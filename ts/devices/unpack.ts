/**
 * Unpacks a library that the package brings compressed, because it would be most of the package:
 * thousands of shaders that resemble each other.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { access, mkdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress } from 'node:zlib'

import { MagicMixError } from '../errors.js'
import { cacheFolder } from './cache-folder.js'
import { digest } from './fingerprint.js'

/** The file to load for `file`, which is unpacked if its name ends in '.br', once per version. */
export async function unpacked(file: string): Promise<string> {
  if (!file.endsWith('.br')) return file
  const { size, mtimeMs } = await stat(file)
  const folder = path.join(cacheFolder(), 'backends', digest([file, size, mtimeMs]))
  const target = path.join(folder, path.basename(file, '.br'))
  const exists = await access(target).then(
    () => true,
    () => false,
  )
  if (!exists) await unpack(file, target)
  return target
}

/** Another process may do the same at the same time: both write the same bytes. */
async function unpack(file: string, target: string): Promise<void> {
  const unfinished = `${target}.${randomUUID()}`
  try {
    await mkdir(path.dirname(target), { recursive: true, mode: 0o700 })
    const output = createWriteStream(unfinished, { mode: 0o700 })
    await pipeline(createReadStream(file), createBrotliDecompress(), output)
    await rename(unfinished, target)
  } catch (error) {
    await rm(unfinished, { force: true }).catch(() => undefined)
    throw new MagicMixError(
      'DEVICE_UNAVAILABLE',
      `${path.basename(file)} could not be unpacked to ${path.dirname(target)} ` +
        `(${(error as Error).message}); MAGICMIX_CACHE can name another folder`,
      { file, target },
      { cause: error },
    )
  }
}
