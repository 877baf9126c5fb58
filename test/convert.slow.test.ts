/** `convert` of a model of the size of Stable Diffusion 1.5: its memory, and the file's size. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { sd15Model } from './support/models.js'
import { packageRoot } from './support/package-root.js'

const mebibyte = 2 ** 20

describe('converting the size of SD 1.5', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-convert-'))))
  after(() => rm(folder, { recursive: true }))

  it('to q8_0 needs less than 300 MB of memory and 60% of the size', async () => {
    const input = await sd15Model()
    const output = path.join(folder, 'sd15.gguf')
    // a process of its own: the peak is that of the whole process
    const program = path.join(folder, 'convert.cjs')
    await writeFile(
      program,
      `const { convert } = require(${JSON.stringify(packageRoot)})
       const [input, output] = process.argv.slice(2)
       convert({ input, output, type: 'q8_0' }).then(({ bytes }) =>
         console.log(JSON.stringify({ bytes, peak: process.resourceUsage().maxRSS * 1024 })))`,
    )
    const { stdout } = await promisify(execFile)(process.execPath, [program, input, output])
    const { bytes, peak } = JSON.parse(stdout) as { bytes: number; peak: number }
    const part = bytes / (await stat(input)).size
    console.log(
      `      peak ${(peak / mebibyte).toFixed(0)} MiB, file ${(100 * part).toFixed(1)}% of the F16 one`,
    )
    assert.equal((await stat(output)).size, bytes)
    assert.ok(peak < 300e6)
    assert.ok(part <= 0.6)
  })
})
