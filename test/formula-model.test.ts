import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import {
  formulaCheckpoint,
  formulaChunks,
  formulaTensors,
  sd15Config,
  sdxlConfig,
  tinyConfig,
  tinyXlConfig,
  writeSafetensors,
} from './support/formula-model.js'
import type { TensorSpec } from './support/formula-model.js'
import { diffusersParts } from './support/diffusers.js'
import { commonCases, floatsOf, inventory } from './support/manifest.js'
import type { WeightsCase } from './support/manifest.js'
import { readSafetensors, tensorValues } from './support/safetensors.js'

/** Number and digest of tensors, by name and shape. */
function inventoryOf(tensors: TensorSpec[]): { tensors: number; sha256: string } {
  const lines = tensors.map(({ name, shape }) => `${name} ${shape.join('x')}\n`).sort()
  const sha256 = createHash('sha256').update(lines.join('')).digest('hex')
  return { tensors: tensors.length, sha256 }
}

const configs = { tiny: tinyConfig, sd15: sd15Config } as const
const all = { ...configs, tinyXl: tinyXlConfig, sdxl: sdxlConfig } as const

describe('formula-weight models', () => {
  for (const name of ['tiny', 'sd15', 'tinyXl', 'sdxl'] as const) {
    it(`${name} has the tensors that diffusers' conversion script gives`, () => {
      const tensors = formulaTensors(all[name])
      const sizes = tensors.map(({ shape }) => shape.reduce((product, side) => product * side, 1))
      const parameters = sizes.reduce((sum, size) => sum + size, 0)
      assert.deepEqual({ ...inventoryOf(tensors), parameters }, inventory[name])
    })
  }

  const weights = commonCases.find((golden): golden is WeightsCase => golden.kind === 'weights')
  for (const probe of weights?.probes ?? []) {
    it(`${probe.config} ${probe.tensor} has the reference's bytes`, function () {
      this.timeout(20_000)
      const spec = formulaTensors(configs[probe.config]).find(({ name }) => name === probe.tensor)
      assert.ok(spec)
      assert.deepEqual(spec.shape, probe.shape)
      const hash = createHash('sha256')
      for (const chunk of formulaChunks(spec, 'F16')) hash.update(chunk)
      assert.equal(hash.digest('hex'), probe.sha256_f16le)
    })
  }

  describe('as a diffusers folder', () => {
    for (const { folder, tensors } of diffusersParts()) {
      it(`${folder} has the tensors that diffusers saves`, () => {
        assert.deepEqual(inventoryOf(tensors), inventory.tiny_diffusers[folder])
      })
    }

    it('vae has the tensors that diffusers once saved', () => {
      const vae = diffusersParts({ oldAttentionNames: true }).find(({ folder }) => folder === 'vae')
      assert.ok(vae)
      assert.deepEqual(inventoryOf(vae.tensors), inventory.tiny_diffusers.vae_old_names)
    })
  })

  describe('in a file', () => {
    let folder: string
    before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))))
    after(() => rm(folder, { recursive: true }))

    const probe = weights?.probes[1]
    assert.ok(probe)
    for (const dtype of ['F16', 'F32', 'BF16'] as const) {
      it(`has the reference's values as ${dtype}`, async function () {
        this.timeout(20_000)
        const file = path.join(folder, `${dtype}.safetensors`)
        await writeSafetensors(file, formulaCheckpoint(tinyConfig, dtype))
        const written = readSafetensors(file)
        assert.equal(Object.keys(written.header).length, inventory.tiny.tensors)
        if (dtype === 'BF16') return assertUpperHalvesOfSingles(written, probe.tensor)
        const values = tensorValues(written, probe.tensor)
        const expected = [...floatsOf(probe.first)]
        assert.deepEqual(Array.from(values).slice(0, expected.length), expected)
      })
    }

    function assertUpperHalvesOfSingles(
      { header, data }: ReturnType<typeof readSafetensors>,
      name: string,
    ): void {
      const begin = header[name]?.data_offsets[0]
      assert.ok(begin !== undefined)
      for (const [i, value] of floatsOf(probe!.first).entries()) {
        const single = Buffer.alloc(4)
        single.writeUInt16LE(data.readUInt16LE(begin + 2 * i), 2)
        const error = Math.abs(single.readFloatLE() - value)
        assert.ok(error <= Math.abs(value) * 2 ** -8, `element ${i} is off by ${error}`)
      }
    }

    it('leaves nothing behind when it is stopped', async () => {
      const file = path.join(folder, 'stopped.safetensors')
      const controller = new AbortController()
      const onProgress = () => controller.abort(new Error('enough'))
      const { signal } = controller
      const writing = writeSafetensors(file, formulaCheckpoint(tinyConfig), { onProgress, signal })
      await assert.rejects(writing, { message: 'enough' })
      assert.deepEqual(
        (await readdir(folder)).filter((name) => name.includes('stopped')),
        [],
      )
    })
  })
})
