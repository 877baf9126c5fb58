/** Damaged weights that only the numbers show: an error, not a black picture. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'

import { smallRequest, tinyOptions } from './support/programs.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'

const notANumber = Buffer.from([0x00, 0x7e]) // as F16

describe('values that are no numbers', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-not-finite-'))))
  after(() => rm(folder, { recursive: true, force: true }))

  for (const [tensor, message] of [
    ['cond_stage_model.transformer.text_model.final_layer_norm.bias', /text encoder/],
    ['model.diffusion_model.out.2.bias', /UNet at timestep/],
    ['first_stage_model.decoder.conv_out.bias', /autoencoder/],
  ] as const) {
    it(`are named when they come from ${tensor}`, async () => {
      const options = await tinyOptions()
      const { header, data } = readSafetensors(options.model)
      const damaged = Buffer.from(data)
      notANumber.copy(damaged, header[tensor]?.data_offsets[0])
      const model = path.join(folder, 'damaged.safetensors')
      await writeFile(model, safetensorsBytes(header, damaged))

      await using mixer = await MagicMix.load({ ...options, model })
      await assert.rejects(mixer.mix(smallRequest), { code: 'NOT_FINITE', message })
    })
  }
})
