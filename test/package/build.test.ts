/** `magicmix build` from what the tarball carries, for those whose platform has no prebuilt addon. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import { installed } from './installed.js'

const run = promisify(execFile)

describe('building from the package', () => {
  let consumer: string
  let root: string
  let cli: string
  let withoutCompilers: NodeJS.ProcessEnv
  before(async () => {
    const user = await installed()
    withoutCompilers = user.env
    consumer = path.join(path.dirname(user.folder), 'builder')
    await cp(user.folder, consumer, { recursive: true })
    root = path.join(consumer, 'node_modules', 'magicmix')
    cli = path.join(root, 'dist', 'cli', 'main.js')
  })

  it('says what is missing', async () => {
    await assert.rejects(run(process.execPath, [cli, 'build'], { env: withoutCompilers }), {
      code: 1,
      stderr: /CMake .* is needed, but there is no 'cmake' on the PATH.*BUILD_FAILED/s,
    })
  })

  it('keeps the addon that works when it fails', async () => {
    const wrong = ['build', '--', '-DMAGICMIX_GGML_DIR=nowhere']
    await assert.rejects(run(process.execPath, [cli, ...wrong]), {
      code: 1,
      stderr: /The build failed: CMake Error .*nowhere.* is unchanged/,
    })
    const { stdout } = await run(process.execPath, [cli, 'devices'])
    assert.match(stdout, /^\* cpu/m)
  })

  it('makes an addon that is used from then on', async () => {
    await rm(path.join(root, 'prebuilds'), { recursive: true })
    const options = { cwd: consumer, maxBuffer: 1e8 }
    const { stdout } = await run(process.execPath, [cli, 'build', '-j', '2'], options)
    assert.match(stdout, /^\* cpu/m)
    const files = await readdir(path.join(root, 'build', 'Release'))
    assert.ok(files.includes('magicmix.node'), files.join())
    assert.ok(!(await readdir(root)).includes('build-new'))
    const program = `
      const { MagicMix } = require('magicmix')
      MagicMix.load({ threads: 1 }).then(async (mixer) => {
        const mix = await mixer.mix({ layout: { prompt: 'a pear' }, content: 'a lemon', steps: 2 })
        console.log(mix.width)
        await mixer.dispose()
      })`
    const { stdout: width } = await run(process.execPath, ['-e', program], { cwd: consumer })
    assert.equal(width.trim(), '128')
  })
})
