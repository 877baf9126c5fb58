/** One file from the hub into the cache: goes on where it was broken off, checked, then renamed. */
import { mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'

import { type CachedRepo, fileBytes } from './cache.js'
import type { Connection } from './connection.js'
import { asFullDisk } from './disk.js'
import type { RemoteFile } from './listing.js'
import { holding } from './lock.js'
import { PartialFile } from './partial-file.js'
import { Backoff } from './backoff.js'

/** The tools of a download. */
export interface Download {
  file: RemoteFile
  commit: string
  connection: Connection
  cache: CachedRepo
  /** Called with how much of the file is there, and how much of it has just come. */
  onBytes: (bytes: number, received: number) => void
}

/**
 * Brings the content of a file into the cache. Whatever ends it early, a full disk too, leaves the
 * part that is there for the next time; only what turns out to be wrong is deleted.
 */
export async function download(job: Download): Promise<void> {
  const { file, connection, cache, onBytes } = job
  const blob = cache.blob(file.etag)
  await mkdir(path.dirname(blob), { recursive: true })
  await holding(cache.lock(file.etag), connection.signal, async () => {
    if ((await fileBytes(blob)) === file.bytes) return // somebody else was downloading it
    const part = `${blob}.incomplete`
    const whole = await receive(part, job)
    if (!whole) {
      await rm(part, { force: true })
      throw connection.error(
        'DOWNLOAD_DAMAGED',
        `${file.path} is not what the hub announced (${file.bytes} bytes with the hash ` +
          `${file.etag}), so it was deleted. Try again, or another HF_ENDPOINT`,
        { file: file.path, etag: file.etag, bytes: file.bytes },
      )
    }
    await rename(part, blob)
  })
  onBytes(file.bytes, 0)
}

/** Fills `part` up. Resolves to whether it then matches the announced hash. */
async function receive(part: string, job: Download): Promise<boolean> {
  const { file, connection, onBytes } = job
  const backoff = new Backoff(connection.signal)
  const target = await PartialFile.open(part, file)
  let furthest = target.bytes
  try {
    onBytes(target.bytes, 0)
    while (target.bytes < file.bytes) {
      try {
        for await (const chunk of rest(target, job)) {
          if (target.bytes + chunk.length > file.bytes) return false
          await target.append(chunk)
          onBytes(target.bytes, chunk.length)
        }
      } catch (failure) {
        if (target.bytes > furthest) backoff.renew()
        furthest = Math.max(furthest, target.bytes)
        await backoff.after(failure)
      }
    }
    return target.isRight()
  } catch (error) {
    throw await asFullDisk(error, path.dirname(part), file.bytes - target.bytes)
  } finally {
    await target.close()
  }
}

const uncompressed = { 'accept-encoding': 'identity' }

/** Downloads the missing part of `target`; an end before the announced one is a failure. */
async function* rest(
  target: PartialFile,
  { file, commit, connection }: Download,
): AsyncGenerator<Uint8Array> {
  const address = connection.addressOf(commit, file.path)
  // fetch itself asks for no compression where it asks for a range
  const headers = target.bytes > 0 ? { range: `bytes=${target.bytes}-` } : uncompressed
  const response = await connection.get(address, headers)
  const begin = response.status === 206 ? response.headers.get('content-range') : null
  if (!begin?.startsWith(`bytes ${target.bytes}-`)) await target.restart()
  try {
    for await (const chunk of response.body ?? []) yield chunk as Uint8Array
  } catch (error) {
    throw connection.broken(address, error)
  }
  if (target.bytes < file.bytes) throw connection.broken(address, 'the file ended too early')
}
