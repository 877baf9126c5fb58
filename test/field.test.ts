/**
 * Files as people have them, with answers from PyTorch, diffusers, transformers and PEFT
 * (test/fixtures/field).
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'

import { assertClose } from './support/closeness.js'
import { fieldCases, fieldLatents, prepared } from './support/field.js'
import { coded } from './support/refusals.js'
import { tensorValues } from './support/safetensors.js'

describe('files as people have them', function () {
  this.timeout(120_000)
  let out: string
  beforeEach(async () => (out = await mkdtemp(path.join(tmpdir(), 'magicmix-field-'))))
  afterEach(() => rm(out, { recursive: true }))

  for (const field of fieldCases) {
    const { id, about, expected } = field
    it(`${id}: ${about}`, async () => {
      const { load, request } = await prepared(field, out)
      const loading = MagicMix.load({ ...load, device: 'cpu', precision: 'f32', threads: 1 })
      if (expected.error !== undefined) {
        for (const tells of expected.tells ?? []) {
          await assert.rejects(
            loading,
            coded(expected.error, new RegExp(`'[^']*'.*(?:${tells})`, 'i')),
          )
        }
        return
      }
      await using mixer = await loading
      if (expected.model !== undefined) {
        const model: object = mixer.model
        assert.deepEqual({ ...model, ...expected.model }, model)
      }
      if (expected.latent !== undefined) {
        const { trace } = await mixer.mix(request!)
        assertClose(id, trace.at(-1)!.latent, tensorValues(fieldLatents, expected.latent), 1e-4)
      }
    })
  }
})
