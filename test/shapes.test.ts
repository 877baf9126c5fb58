/** UNets of unusual sizes: computed rightly, or refused; never read or written beyond their ends. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { MixState } from 'magicmix'

import { assertClose } from './support/closeness.js'
import { formulaCheckpoint, tinyConfig } from './support/formula-model.js'
import type { FormulaConfig } from './support/formula-model.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { native } from './support/native.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'
import { writeSafetensors } from './support/safetensors-writer.js'
import { statesOf } from './support/small-mix.js'

const inherited = process.env.MAGICMIX_KERNELS

describe('UNets of unusual sizes', function () {
  this.timeout(120_000)
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-shapes-'))))
  after(() => rm(folder, { recursive: true }))
  afterEach(() => {
    if (inherited === undefined) delete process.env.MAGICMIX_KERNELS
    else process.env.MAGICMIX_KERNELS = inherited
  })

  async function modelOf(unet: Partial<FormulaConfig['unet']>): Promise<string> {
    const file = path.join(folder, `${JSON.stringify(unet).replace(/\W+/g, '-')}.safetensors`)
    const config = { ...tinyConfig, unet: { ...tinyConfig.unet, ...unet } }
    await writeSafetensors(file, formulaCheckpoint(config, 'F16'))
    return file
  }

  const last = (states: MixState[]) => states.at(-1)!.latent

  it('with odd numbers of channels', async () => {
    const model = await modelOf({ channels: [33, 45, 63] })
    const config = { unet: { heads: 3, normGroups: 3 }, textEncoder: { heads: 2 } }
    process.env.MAGICMIX_KERNELS = 'off'
    const expected = last(await statesOf(model, { config, precision: 'f32' }))
    assert.ok(expected.every(Number.isFinite))
    delete process.env.MAGICMIX_KERNELS
    for (const [precision, tolerance] of [
      ['f32', 1e-4],
      ['f16', 1e-2],
      ['bf16', 1e-1],
      ['q8_0', 1e-1],
    ] as const) {
      const actual = last(await statesOf(model, { config, precision }))
      assertClose(precision, actual, expected, tolerance)
    }
  })

  it('with as many ResBlocks in a level as there may be', async () => {
    const model = await modelOf({ channels: [8, 8, 8, 8], layersPerLevel: 16 })
    const config = { unet: { heads: 2, normGroups: 4 }, textEncoder: { heads: 2 } }
    const states = await statesOf(model, { config, precision: 'f32' })
    assert.ok(last(states).every(Number.isFinite))
  })

  it('of which a tensor too many makes a UNet without levels', async () => {
    const { header, data } = readSafetensors(await tinyModel())
    const offset = data.length
    const stray = {
      'model.diffusion_model.input_blocks.1.0.op.weight': {
        dtype: 'F16',
        shape: [1],
        data_offsets: [offset, offset + 2] as [number, number],
      },
    }
    const file = path.join(folder, 'stray.safetensors')
    await writeFile(
      file,
      safetensorsBytes({ ...header, ...stray }, Buffer.concat([data, Buffer.alloc(2)])),
    )
    const refusal = coded('MODEL_FORMAT', /first block.*is no ResBlock/)
    await assert.rejects(MagicMix.load({ model: file, config: tinyHeads }), refusal)
    const { problem } = await native.inspect(file, tinyHeads).done
    assert.match(problem, /first block.*is no ResBlock/)
  })
})
