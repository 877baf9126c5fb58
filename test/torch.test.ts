/** Files of `torch.save`: those of torch itself, and the tiny model as a .ckpt. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, rename, writeFile, cp } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { convert } from 'magicmix'
import type { MixState } from 'magicmix'

import { diffusersParts } from './support/diffusers.js'
import { formulaCheckpoint, tinyConfig } from './support/formula-model.js'
import { tinyDiffusers, tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { readSafetensors, tensorValues } from './support/safetensors.js'
import { statesOf } from './support/small-mix.js'
import {
  legacyFile,
  pickled,
  pickledTensor,
  pickledTensors,
  torchArchive,
  torchCheckpoint,
  zipBytes,
} from './support/torch-writer.js'

type Expected = Record<string, { shape: number[]; values: number[] }>

describe('files of torch', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))))
  after(() => rm(folder, { recursive: true }))

  describe('written by torch itself', () => {
    const expected = JSON.parse(readFileSync(fixture('torch/expected.json'), 'utf8')) as Expected

    for (const name of ['zip.pt', 'legacy.pt', 'lightning.ckpt', 'protocol4.pt']) {
      it(`${name}: all types, strides and shared storages give torch's values`, async () => {
        const output = path.join(folder, `${name}.safetensors`)
        await convert({ input: fixture(`torch/${name}`), output, type: 'f32' })
        const converted = readSafetensors(output)
        for (const [tensor, { shape, values }] of Object.entries(expected)) {
          assert.deepEqual(converted.header[tensor]?.shape, shape, tensor)
          assert.deepEqual(Array.from(tensorValues(converted, tensor)), values, tensor)
        }
      })
    }
  })

  it('of modules of torch give their parameters', async () => {
    const output = path.join(folder, 'module.safetensors')
    await convert({ input: fixture('torch/module.pt'), output, type: 'f32' })
    const values = tensorValues(readSafetensors(output), 'model.diffusion_model.parameter')
    assert.deepEqual(Array.from(values), [-1, -0.75, -0.5, -0.25])
  })

  describe('of the tiny model give the same states as safetensors', () => {
    let expected: MixState[]
    before(async () => (expected = await statesOf(await tinyModel(), { config: tinyHeads })))

    async function assertSame(bytes: Uint8Array): Promise<void> {
      const file = path.join(folder, 'tiny.ckpt')
      await writeFile(file, bytes)
      assert.deepEqual(await statesOf(file, { config: tinyHeads }), expected)
      await rm(file)
    }

    it('.ckpt', () => assertSame(torchCheckpoint(formulaCheckpoint(tinyConfig))))

    it('.ckpt in the form from before torch 1.6', () => {
      const { state, storages } = pickledTensors(formulaCheckpoint(tinyConfig), true)
      return assertSame(legacyFile(state, storages, 2))
    })

    it('a diffusers folder with .bin weights, one of them in shards', async () => {
      const root = path.join(folder, 'pickled')
      await cp(await tinyDiffusers(), root, { recursive: true })
      for (const { folder: part, file, tensors } of diffusersParts()) {
        const within = (name: string) => path.join(root, part, name)
        await rm(within(`${file}.safetensors`))
        const name = part === 'text_encoder' ? 'pytorch_model' : file
        const { state, storages } = pickledTensors(tensors)
        const bytes = torchArchive(pickled.whole(state), storages)
        await writeFile(within(`${name}.bin`), bytes)
        if (part === 'vae') {
          const shard = `${name}-00001-of-00001.bin`
          await rename(within(`${name}.bin`), within(shard))
          const map = Object.fromEntries(tensors.map((tensor) => [tensor.name, shard]))
          await writeFile(within(`${name}.bin.index.json`), JSON.stringify({ weight_map: map }))
        }
      }
      assert.deepEqual(await statesOf(root), expected)
    })
  })

  it('in a zip64 archive are read', async () => {
    const input = path.join(folder, 'zip64.pt')
    const name = 'model.diffusion_model.a'
    const view = { storage: 'FloatStorage', key: '0', elements: 2, shape: [1, 2] }
    const values = Buffer.from(new Float32Array([0.5, -2]).buffer)
    const pickle = pickled.whole(pickled.dictionary([pickled.text(name), pickledTensor(view)]))
    const first = { name: 'a/data.pkl', data: pickle, claimed: { offset: 0xffffffff, zip64: 0n } }
    await writeFile(input, zipBytes([first, { name: 'a/data/0', data: values }]))
    const output = path.join(folder, 'zip64.safetensors')
    await convert({ input, output, type: 'f32' })
    assert.deepEqual(Array.from(tensorValues(readSafetensors(output), name)), [0.5, -2])
  })

  it('that are truncated anywhere are refused', async () => {
    const whole = await readFile(fixture('torch/legacy.pt'))
    for (const at of [14, 15, 20, 40, 200, 1000, whole.length - 1]) {
      const input = path.join(folder, 'cut.pt')
      await writeFile(input, whole.subarray(0, at))
      const output = path.join(folder, 'cut.safetensors')
      await assert.rejects(convert({ input, output }), { code: 'MODEL_FORMAT' }, String(at))
    }
  })
})
