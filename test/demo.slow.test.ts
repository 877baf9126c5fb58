/** The demo, as a new user runs it. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'

import { packageRoot } from './support/package-root.js'
import { runNode } from './support/programs.js'

describe('the demo', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-test-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('writes a sheet for each effect, and says what it shows', async () => {
    const bin = path.join(packageRoot, 'dist', 'cli', 'main.js')
    const { code, stdout, stderr } = await runNode([bin, 'demo'], folder)
    assert.equal(code, 0, stderr)
    const sheets = [
      'interpolation',
      'k',
      'limits',
      'nu',
      'place',
      'quick',
      'removal',
      'scale',
      'several',
      'text',
    ]
    const written = path.join(folder, 'magicmix-demo')
    assert.deepEqual(
      (await readdir(written)).sort(),
      sheets.map((name) => `${name}.png`),
    )
    for (const name of sheets) {
      assert.match(stdout, new RegExp(`magicmix-demo.${name}\\.png +\\S`))
      const { width, height } = await sharp(path.join(written, `${name}.png`)).metadata()
      assert.ok(width > 500 && height > 300, `${name}: ${width} x ${height}`)
    }
    assert.match(stdout, /Wrote 10 sheets in /)
    assert.match(stderr, /quick\.png is there, after [\d.]+ s\n(.+\n)*mixing/)
    assert.match(stderr, /mixing \d+\/\d+/)
  })
})
