/**
 * One repository in the folder that all programs share which use the hub, laid out as its Python
 * library does it:
 *
 *     models--ORG--NAME/refs/main                      text: the commit that 'main' was
 *     models--ORG--NAME/snapshots/COMMIT/unet/x.bin    a link to the content
 *     models--ORG--NAME/blobs/ETAG                     the content
 *     models--ORG--NAME/blobs/ETAG.incomplete          the part of it that is there already
 */
import {
  copyFile,
  link,
  mkdir,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import path from 'node:path'

import type { RemoteFile } from './listing.js'
import { isCommit } from './listing.js'

export class CachedRepo {
  private readonly folder: string
  private readonly locks: string

  constructor(root: string, repo: string) {
    const name = `models--${repo.replace('/', '--')}`
    this.folder = path.join(root, name)
    this.locks = path.join(root, '.locks', name)
  }

  snapshot(commit: string): string {
    return path.join(this.folder, 'snapshots', commit)
  }

  /** Where the content of a file belongs. */
  blob(etag: string): string {
    return path.join(this.folder, 'blobs', etag)
  }

  /** A name for the lock that keeps two from downloading the same. */
  lock(etag: string): string {
    return path.join(this.locks, `${etag}.magicmix.lock`)
  }

  /** The commit that a revision was when somebody last asked the hub. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision
    const file = path.join(this.folder, 'refs', revision)
    const commit = (await readFile(file, 'utf8').catch(() => '')).trim()
    return isCommit(commit) ? commit : undefined
  }

  async remember(revision: string, commit: string): Promise<void> {
    if (revision === commit) return
    const file = path.join(this.folder, 'refs', revision)
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, commit)
  }

  /** The files of a commit that are here, whole. */
  async filesOf(commit: string): Promise<string[]> {
    const folder = this.snapshot(commit)
    const found = await readdir(folder, { recursive: true }).catch(() => [])
    const sizes = await Promise.all(found.map((file) => fileBytes(path.join(folder, file))))
    return found
      .filter((_, i) => sizes[i] !== undefined)
      .map((file) => file.split(path.sep).join('/'))
  }

  /** Whether a file's content is here, for this commit or another. */
  async has({ path: file, etag, bytes }: RemoteFile, commit: string): Promise<boolean> {
    const places = [path.join(this.snapshot(commit), file), this.blob(etag)]
    return (await Promise.all(places.map(fileBytes))).includes(bytes)
  }

  /** How much of a file's content is here. */
  async partOf({ etag, bytes }: RemoteFile): Promise<number> {
    const part = (await fileBytes(`${this.blob(etag)}.incomplete`)) ?? 0
    return part <= bytes ? part : 0
  }

  /** Makes a file appear in a commit's folder, once its content is here. */
  async show({ path: file, etag, bytes }: RemoteFile, commit: string): Promise<void> {
    const place = path.join(this.snapshot(commit), file)
    if ((await fileBytes(place)) === bytes) return
    const folder = path.dirname(place)
    const blob = this.blob(etag)
    await mkdir(folder, { recursive: true })
    await rm(place, { force: true })
    await symlink(path.relative(folder, blob), place)
      .catch(() => link(blob, place)) // Windows without developer mode
      .catch(() => copyFile(blob, place))
      .catch(async (error: unknown) => {
        // another pull may have been faster
        if ((await fileBytes(place)) !== bytes) throw error
      })
  }
}

/** Size of a file, seen through links; undefined if it is not there. */
export async function fileBytes(file: string): Promise<number | undefined> {
  const found = await stat(file).catch(() => undefined)
  return found?.isDirectory() ? undefined : found?.size
}
