/** Verdicts on devices, kept from process to process as long as addon, library and driver stay. */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'

import { MagicMixError } from '../errors.js'
import { cacheFolder } from './cache-folder.js'
import { driverMissing, fingerprint } from './fingerprint.js'
import type { BackendLibrary } from './libraries.js'
import { type Examination, examine } from './preflight.js'
import { unpacked } from './unpack.js'

/** A failure may have been one of the moment: memory in use, for example. */
const failuresLast = 3_600_000

interface Stored {
  examination: Examination
  /** Milliseconds since 1970. */
  time: number
}

/** One run per library: concurrent callers share it. */
const underway = new Map<string, Promise<Examination>>()

/** The verdicts on a library's devices; `fresh`: tested now. */
export async function verdictsOn(library: BackendLibrary, fresh = false): Promise<Examination> {
  const problem = await driverMissing(library)
  if (problem) return { devices: [], problem }
  const key = await fingerprint(library)
  let examination = fresh ? undefined : underway.get(key)
  if (!examination) {
    examination = lookUp(library, key, fresh)
    underway.set(key, examination)
  }
  return examination
}

async function lookUp(library: BackendLibrary, key: string, fresh: boolean): Promise<Examination> {
  try {
    const file = path.join(cacheFolder(), 'devices', `${library.backend}-${key}.json`)
    const stored = fresh ? undefined : await read(file)
    if (stored) return stored
    const examination = await examine(await unpacked(library.file), library.backend)
    await write(file, { examination, time: Date.now() })
    return examination
  } catch (error) {
    if (!(error instanceof MagicMixError)) throw error
    return { devices: [], problem: error.message }
  }
}

async function read(file: string): Promise<Examination | undefined> {
  try {
    const { examination, time } = JSON.parse(await readFile(file, 'utf8')) as Stored
    const failed = examination.problem || examination.devices.some(({ reason }) => reason)
    return failed && Date.now() - time > failuresLast ? undefined : examination
  } catch {
    return undefined // not there, or of another version
  }
}

/** A read-only cache just means testing again. */
async function write(file: string, stored: Stored): Promise<void> {
  const unfinished = `${file}.${randomUUID()}`
  try {
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(unfinished, JSON.stringify(stored))
    await rename(unfinished, file)
  } catch {
    return
  }
}
