/**
 * Files made to do harm, of every format: each is refused with a code and a reason, nothing in it is
 * run, and a model that was loaded before still mixes the same picture.
 *
 * A case of a single file is a line in a table of `support/hostile-FORMAT.ts`.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { Mix } from 'magicmix'

import { hostileGguf } from './support/hostile-gguf.js'
import { hostileSafetensors } from './support/hostile-safetensors.js'
import {
  type HostileFile,
  hostileLegacy,
  hostilePickles,
  hostileTensors,
  hostileZip,
  somethingWasRun,
} from './support/hostile-torch.js'
import { tinyDiffusers, tinyHeads } from './support/models.js'
import { coded } from './support/refusals.js'
import { native } from './support/native.js'
import { smallRequest, tinyOptions } from './support/programs.js'

const files: Record<string, Record<string, HostileFile>> = {
  safetensors: hostileSafetensors,
  gguf: hostileGguf,
  'torch archive': hostileZip,
  pickle: hostilePickles,
  'tensor of torch': hostileTensors,
  'torch before 1.6': hostileLegacy,
}

const shardBytes = 4e6
const index = 'unet/diffusion_pytorch_model.safetensors.index.json'
const shard = 'unet/diffusion_pytorch_model-00002-of-00005.safetensors'

describe('hostile files', () => {
  let folder: string
  let survivor: MagicMix
  let untouched: Mix
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-hostile-'))
    survivor = await MagicMix.load(await tinyOptions())
    untouched = await survivor.mix(smallRequest)
  })
  after(async () => {
    await survivor?.dispose()
    await rm(folder, { recursive: true })
  })

  async function assertRefused(model: string, code: string, message: RegExp): Promise<void> {
    const options = { model, config: tinyHeads, device: 'cpu', threads: 1 }
    await assert.rejects(MagicMix.load(options), coded(code, message))
    const told = await native
      .inspect(model, { unet: { heads: 4 }, textEncoder: { heads: 2 } })
      .done.then(
        ({ problem }) => problem,
        (error: Error) => error.message,
      )
    assert.notEqual(told, '')
    assert.ok(!somethingWasRun(), 'a pickle was run')
  }

  for (const [format, cases] of Object.entries(files)) {
    for (const [what, [bytes, code, message]] of Object.entries(cases)) {
      it(`${format}: ${what} -> ${code}`, async () => {
        const file = path.join(folder, 'hostile')
        await writeFile(file, bytes)
        await assertRefused(file, code, message)
        await rm(file)
      })
    }
  }

  describe('diffusers', () => {
    let model: string
    const within = (file: string) => path.join(model, ...file.split('/'))
    beforeEach(async () => {
      model = path.join(folder, 'model')
      await cp(await tinyDiffusers({ shardBytes }), model, { recursive: true })
    })
    afterEach(() => rm(model, { recursive: true }))

    type Case = [change: () => unknown, message: RegExp, code?: string]
    const cases: Record<string, Case> = {
      'weights that are a link to a device': [
        async () => {
          await rm(within(shard))
          await symlink('/dev/zero', within(shard))
        },
        /not a regular file/,
      ],
      'a shard that is a link to itself': [
        async () => {
          await rm(within(shard))
          await symlink(within(shard), within(shard))
        },
        /00002-of-00005/,
        'MODEL_NOT_FOUND',
      ],
      'a shard that is a folder': [
        async () => {
          await rm(within(shard))
          await mkdir(within(shard))
        },
        /not a regular file/,
      ],
      'a shard that is a pipe': [
        async () => {
          await rm(within(shard))
          execFileSync('mkfifo', [within(shard)])
        },
        /not a regular file/,
      ],
      'a shard with a name of 5000 bytes': [
        () => writeFile(within(index), JSON.stringify({ weight_map: { a: 'x'.repeat(5000) } })),
        /too long/,
        'MODEL_NOT_FOUND',
      ],
      'a shard of another kind that lies': [
        () => writeFile(within(shard), hostileZip['with an entry inside of another']![0]),
        /overlap/,
      ],
      'a shard that calls os.system': [
        () => writeFile(within(shard), hostilePickles['that calls os.system']![0]),
        /os system/,
        'MODEL_UNSUPPORTED',
      ],
      'an index that is cut off': [
        async () => {
          const text = await readFile(within(index), 'utf8')
          await writeFile(within(index), text.slice(0, 1000))
        },
        /index\.json.*JSON/,
      ],
      'an index of 1000 nested lists': [
        () => writeFile(within(index), `{"a":${'['.repeat(1000)}${']'.repeat(1000)}}`),
        /nested deeper/,
      ],
      'a configuration with a number beyond all': [
        () => writeFile(within('unet/config.json'), '{"norm_eps": 1e999}'),
        /config\.json.*number that is too large/,
      ],
      'an index that is a list': [() => writeFile(within(index), '[]'), /no weight_map/],
      'an index that is empty': [() => writeFile(within(index), ''), /empty/],
    }
    for (const [what, [change, message, code = 'MODEL_FORMAT']] of Object.entries(cases)) {
      it(`${what} -> ${code}`, async () => {
        await change()
        await assertRefused(model, code, message)
      })
    }

    it('whose files and parts are links elsewhere is read', async () => {
      const elsewhere = path.join(folder, 'elsewhere')
      await mkdir(elsewhere)
      for (const part of [shard, 'unet/config.json', 'model_index.json', 'vae']) {
        const outside = path.join(elsewhere, path.basename(part))
        await rename(within(part), outside)
        await symlink(outside, within(part))
      }
      await using mixer = await MagicMix.load({ model, device: 'cpu', threads: 1 })
      assert.equal(mixer.model.format, 'diffusers')
      await rm(elsewhere, { recursive: true })
    })

    it('with a link to a file of secrets does not quote it', async () => {
      const secret = path.join(folder, 'secret')
      await writeFile(secret, 'hush:x:0')
      await rm(within('unet/config.json'))
      await symlink(secret, within('unet/config.json'))
      await assert.rejects(MagicMix.load({ model }), (error: Error) => {
        assert.match(error.message, /config\.json.*not valid JSON/)
        return !error.message.includes('hush')
      })
    })
  })

  // in a suite of its own: mocha runs tests before suites
  describe('all of them', () => {
    it('leave a model that was loaded before as it was', async () => {
      assert.deepEqual((await survivor.mix(smallRequest)).data, untouched.data)
    })
  })
})
