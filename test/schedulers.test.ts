/**
 * What scheduler_config.json declares is honoured, or refused by name: mixes against diffusers'
 * `DDIMScheduler.from_config` of the same file (test/fixtures/schedulers.json).
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'
import type { MixRequest } from 'magicmix'

import { assertClose } from './support/closeness.js'
import { tinyDiffusers } from './support/models.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import { readSafetensors, tensorValues } from './support/safetensors.js'

interface Case {
  id: string
  about: string
  /** Changes to the file, or a whole file. */
  set?: Record<string, unknown>
  text?: string
  /** A layout that is a text names a fixture. */
  request: MixRequest
}

const cases = JSON.parse(readFileSync(fixture('schedulers.json'), 'utf8')) as Case[]
const expected = readSafetensors(fixture('schedulers.safetensors'))

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

  async function lastLatent(of: string, { layout, ...request }: Case['request']) {
    await using mixer = await MagicMix.load({ model: of, precision: 'f32', threads: 1 })
    const picture = typeof layout === 'string' ? fixture(layout) : layout
    const mix = await mixer.mix({ ...request, layout: picture, trace: true })
    return mix.trace.at(-1)!.latent
  }

  for (const { id, about, set, text, request } of cases) {
    it(`${id}: ${about}`, async () => {
      if (text === undefined) await change(set ?? {})
      else await writeFile(file(), text)
      const latent = await lastLatent(model, request)
      assertClose(id, latent, tensorValues(expected, id), 1e-4)

      const single = path.join(folder, `${id}.gguf`)
      await convert({ input: model, output: single })
      assert.deepEqual(await lastLatent(single, request), latent)
      await rm(single)
    })
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
      const { request } = cases[0]!
      const everything = { ...request, kMax: 1 }
      await assert.rejects(lastLatent(model, everything), coded('MODEL_UNSUPPORTED', message))
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
      const { request } = cases[0]!
      await assert.rejects(lastLatent(model, request), coded('MODEL_FORMAT', new RegExp(key)))
    })
  }
})
