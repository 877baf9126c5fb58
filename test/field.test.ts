/**
 * Files as people have them, with answers from PyTorch, diffusers, transformers and PEFT
 * (test/fixtures/field).
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'

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
      const plain = { device: 'cpu', precision: 'f32', threads: 1 } as const
      const loading = MagicMix.load({ ...load, ...plain })
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
      if (expected.latent === undefined) return
      const right = tensorValues(fieldLatents, expected.latent)
      const { trace } = await mixer.mix(request!)
      assertClose(id, trace.at(-1)!.latent, right, 1e-4)
      if (!field.build || load.loras) return

      // What a file declares, a file that was made of it declares, too.
      const { model: input, vae, config, ...others } = load
      const single = path.join(out, 'converted.gguf')
      await convert({ input: input!, output: single, type: 'f32', vae, config })
      await using again = await MagicMix.load({ ...others, ...plain, model: single })
      const { trace: theirs } = await again.mix(request!)
      assertClose(`${id}, converted`, theirs.at(-1)!.latent, right, 1e-4)
    })
  }
})
