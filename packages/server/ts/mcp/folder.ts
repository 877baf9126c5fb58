/** The folder that a tool on stdio may name pictures of. */
import { open, realpath } from 'node:fs/promises'
import path from 'node:path'

import { unprocessable } from '../problem.js'

export class Folder {
  private constructor(
    private readonly root: string,
    private readonly mostBytes: number,
  ) {}

  static async of(folder: string, mostBytes: number): Promise<Folder> {
    return new Folder(await realpath(folder), mostBytes)
  }

  /** @throws Problem for what is not in it, links followed, or is no file of the size of a picture */
  async read(name: unknown, option: string): Promise<Buffer> {
    const none = unprocessable(`There is no such picture in the folder that is given`, {
      name: option,
    })
    if (typeof name !== 'string' || name === '' || name.includes('\0')) throw none
    const place = await realpath(path.resolve(this.root, name)).catch(() => undefined)
    if (!place?.startsWith(this.root + path.sep)) throw none
    const file = await open(place, 'r').catch(() => undefined)
    if (!file) throw none
    try {
      const state = await file.stat()
      if (!state.isFile() || state.size > this.mostBytes) throw none
      return await file.readFile()
    } finally {
      await file.close()
    }
  }
}
