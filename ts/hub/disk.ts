/** Room on the disk: asked for before a download, and missed in the middle of one. */
import { statfs } from 'node:fs/promises'

import { MagicMixError } from '../errors.js'

/** Refuses a download that would not fit. */
export async function refuseFullDisk(folder: string, needed: number): Promise<void> {
  const free = await freeBytes(folder)
  if (free !== undefined && needed > free) throw diskFull(folder, needed, free)
}

/** A write error as DISK_FULL where it means that: some systems report quota or file size instead. */
export async function asFullDisk(error: unknown, folder: string, needed: number) {
  const { code } = error as NodeJS.ErrnoException
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EFBIG') return error
  return diskFull(folder, needed, await freeBytes(folder), error)
}

/** Any other error of the file system, such as a cache that may not be written to. */
export function asUnwritable(error: unknown, folder: string): unknown {
  if (!(error instanceof Error && 'syscall' in error)) return error
  return new MagicMixError(
    'DOWNLOAD_FAILED',
    `The cache ${folder} cannot be written (${error.message}). HF_HUB_CACHE can name another folder`,
    { path: folder },
    { cause: error },
  )
}

async function freeBytes(folder: string): Promise<number | undefined> {
  const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: NaN, bsize: 1 }))
  return Number.isNaN(bavail) ? undefined : bavail * bsize
}

function diskFull(folder: string, needed: number, free: number | undefined, cause?: unknown) {
  return new MagicMixError(
    'DISK_FULL',
    `The download needs ${megabytes(needed)} more in ${folder}` +
      (free === undefined ? '' : `, where ${megabytes(free)} are free`) +
      `. HF_HUB_CACHE can name a folder on another disk; the part that is there is kept`,
    { path: folder, neededBytes: needed, ...(free === undefined ? {} : { freeBytes: free }) },
    { cause },
  )
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
