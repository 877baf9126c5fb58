/** The part of a file that is there already, and the hash of it. */
import { type Hash, createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

import type { RemoteFile } from './listing.js'

export class PartialFile {
  private constructor(
    private readonly handle: FileHandle,
    private readonly file: RemoteFile,
    private hash: Hash,
    /** How much is there. */
    public bytes: number,
  ) {}

  static async open(path: string, file: RemoteFile): Promise<PartialFile> {
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT)
    const partial = new PartialFile(handle, file, newHash(file), 0)
    try {
      await partial.takeUp((await handle.stat()).size)
      return partial
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0;) {
      // At an explicit place: should two ever write, they write the same bytes to the same places.
      const { bytesWritten } = await this.handle.write(rest, 0, rest.length, this.bytes)
      this.hash.update(rest.subarray(0, bytesWritten))
      this.bytes += bytesWritten
      rest = rest.subarray(bytesWritten)
    }
  }

  /** Forgets everything. */
  async restart(): Promise<void> {
    if (this.bytes === 0) return
    await this.handle.truncate(0)
    this.hash = newHash(this.file)
    this.bytes = 0
  }

  /** Whether it is complete, with the right hash. */
  isRight(): boolean {
    return this.bytes === this.file.bytes && this.hash.copy().digest('hex') === this.file.etag
  }

  async close(): Promise<void> {
    await this.handle.close()
  }

  private async takeUp(present: number): Promise<void> {
    if (present > this.file.bytes) await this.handle.truncate(0)
    else if (present > 0) {
      const part = this.handle.createReadStream({ start: 0, end: present - 1, autoClose: false })
      for await (const chunk of part) this.hash.update(chunk as Uint8Array)
      this.bytes = present
    }
  }
}

/** SHA-256 of the content, or the SHA-1 that git gives to a file: of a short header as well. */
function newHash({ etag, bytes }: RemoteFile): Hash {
  return etag.length === 64
    ? createHash('sha256')
    : createHash('sha1').update(`blob ${bytes}\0`, 'latin1')
}
