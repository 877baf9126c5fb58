/** The programs of examples/, run as a reader would run them. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { createInterface } from 'node:readline'

import { MagicMix } from 'magicmix'
import sharp from 'sharp'

import { packageRoot } from './support/package-root.js'

const run = promisify(execFile)
const example = (name: string) => path.join(packageRoot, 'examples', name)

describe('examples', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-examples-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('script.mjs mixes a prompt into a picture', async () => {
    const layout = path.join(packageRoot, 'models', 'layouts', 'heart.png')
    const args = [example('script.mjs'), layout, 'a photo of a lemon', 'out.png']
    const { stdout } = await run(process.execPath, args, { cwd: folder })
    assert.equal(stdout, 'out.png\n')
    const { width, height, format } = await sharp(path.join(folder, 'out.png')).metadata()
    assert.deepEqual([width, height, format], [128, 128, 'png'])
  })

  it('script.mjs tells what is wrong', async () => {
    const args = [example('script.mjs'), 'no-such-picture.png']
    await assert.rejects(run(process.execPath, args, { cwd: folder }), {
      code: 1,
      stderr: /PICTURE_UNREADABLE: .*no-such-picture/s,
    })
  })

  it('worker-pool.mjs gives what a single mixer gives', async () => {
    const contents = ['a photo of a lemon', 'a photo of a pear', 'a photo of a banana']
    const { stdout } = await run(process.execPath, [example('worker-pool.mjs'), '2', ...contents], {
      cwd: folder,
      env: { ...process.env, MAGICMIX_DEVICE: 'cpu' },
    })
    assert.deepEqual(
      stdout.trim().split('\n').sort(),
      contents.map((content, i) => `${i} ${content}: mix-${i}.png`),
    )
    await using mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
    for (const [i, content] of contents.entries()) {
      const layout = { prompt: 'a photo of a red apple' }
      const mix = await mixer.mix({ layout, content, steps: 10, seed: 7 })
      const file = await sharp(path.join(folder, `mix-${i}.png`))
        .raw()
        .toBuffer()
      assert.ok(file.equals(mix.data), `mix ${i} is another`)
    }
  })

  describe('server.mjs', () => {
    let server: ChildProcess
    let address: string
    before(async () => {
      server = spawn(process.execPath, [example('server.mjs')], {
        env: { ...process.env, PORT: '0' },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      if (!server.stdout) throw new Error('the server has no output')
      const lines = createInterface(server.stdout)[Symbol.asyncIterator]()
      const { value } = (await lines.next()) as { value: string }
      address = value.replace('listening on ', '')
    })
    after(async () => {
      if (server.exitCode !== null) return
      server.kill('SIGKILL')
      await once(server, 'exit')
    })

    it('takes a mix and gives its picture', async () => {
      const taken = await fetch(`${address}/v1/mixes`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          layout: { prompt: 'a photo of a pear' },
          content: 'a photo of a lemon',
          steps: 5,
        }),
      })
      assert.equal(taken.status, 202)
      const mix = `${address}${taken.headers.get('location')}`
      const events = await (await fetch(`${mix}/events`)).text()
      assert.match(events, /event: progress\n.*event: end\ndata: {"status":"completed"/s)
      const picture = Buffer.from(await (await fetch(`${mix}/picture`)).arrayBuffer())
      assert.equal((await sharp(picture).metadata()).width, 128)
    })

    it('ends when it is told to', async () => {
      server.kill('SIGTERM')
      const [code] = (await once(server, 'exit')) as [number | null]
      assert.equal(code, 0)
    })
  })
})
