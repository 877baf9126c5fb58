/**
 * What scheduler_config.json declares is honoured (test/field.test.ts has the numbers), or refused by
 * name.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { MixRequest } from 'magicmix'

import { tinyDiffusers } from './support/models.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'

const request = {
  ...{ layout: fixture('landscape64.png'), content: 'a corgi', seed: 11 },
  ...{ steps: 5, kMin: 0.2, kMax: 0.8, width: 64, height: 64 },
}

describe('a scheduler_config.json', function () {
  this.timeout(120_000)
  let folder: string
  let model: string
  const file = () => path.join(model, 'scheduler', 'scheduler_config.json')
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-schedulers-'))))
  beforeEach(async () => {
    model = path.join(folder, 'model')
    await cp(await tinyDiffusers(), model, { recursive: true })
  })
  afterEach(() => rm(model, { recursive: true }))
  after(() => rm(folder, { recursive: true }))

  async function change(set: Record<string, unknown>): Promise<void> {
    const json = JSON.parse(await readFile(file(), 'utf8')) as object
    await writeFile(file(), JSON.stringify({ ...json, ...set }))
  }

  async function mixed(more: Partial<MixRequest> = {}): Promise<void> {
    await using mixer = await MagicMix.load({ model, precision: 'f32', threads: 1 })
    await mixer.mix({ ...request, ...more })
  }

  const unsupported: Record<string, [set: Record<string, unknown>, message: RegExp]> = {
    'betas of another form': [{ beta_schedule: 'squaredcos_cap_v2' }, /beta_schedule.*squaredcos/],
    'another spacing': [{ timestep_spacing: 'karras' }, /timestep_spacing 'karras'/],
    'betas in a list': [{ trained_betas: [0.1, 0.2] }, /trained_betas/],
    thresholding: [{ thresholding: true }, /thresholding is true/],
    'flow matching': [{ use_flow_sigmas: true }, /flow matching/],
    'a model of noise that begins without a signal': [
      { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' },
      /rescale_betas_zero_snr.*v_prediction/,
    ],
  }
  for (const [what, [set, message]] of Object.entries(unsupported)) {
    it(`with ${what} is refused by name`, async () => {
      await change(set)
      await assert.rejects(mixed({ kMax: 1 }), coded('MODEL_UNSUPPORTED', message))
    })
  }

  const damaged: Record<string, Record<string, unknown>> = {
    beta_start: { beta_start: 'small' },
    beta_end: { beta_end: 2 },
    steps_offset: { steps_offset: -1 },
    num_train_timesteps: { num_train_timesteps: 1e9 },
    clip_sample: { clip_sample: 'yes' },
    set_alpha_to_one: { set_alpha_to_one: 1 },
  }
  for (const [key, set] of Object.entries(damaged)) {
    it(`with nonsense in ${key} is refused by name`, async () => {
      await change(set)
      await assert.rejects(mixed(), coded('MODEL_FORMAT', new RegExp(key)))
    })
  }
})
