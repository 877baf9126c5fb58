/** Text encoders that are in memory only while prompts are encoded: everything is as if they stayed. */
import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { LoadOptions, MixRequest } from 'magicmix'

import { tinyHeads, tinyModel, tinyXlHeads, tinyXlModel } from './support/models.js'
import { idsOf, nativeOf } from './support/native.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'

describe('releaseTextEncoders', function () {
  this.timeout(180_000)
  const common = { device: 'cpu', precision: 'f32', threads: 1 } as const
  const request = {
    ...{ layout: fixture('landscape64.png'), content: 'a corgi', seed: 1 },
    ...{ steps: 4, width: 64, height: 64 },
  }
  const lora = { file: fixture('sdxl/lora-kohya.safetensors') } // of both text encoders, too

  const loadXl = async (options: LoadOptions) =>
    MagicMix.load({ ...common, model: await tinyXlModel(), config: tinyXlHeads, ...options })

  async function sameOf(options: LoadOptions, requests: Partial<MixRequest>[]): Promise<void> {
    await using kept = await loadXl(options)
    await using released = await loadXl({ ...options, releaseTextEncoders: true })
    for (const each of requests) {
      const [a, b] = await Promise.all(
        [kept, released].map((mixer) => mixer.mix({ ...request, ...each })),
      )
      assert.deepEqual(a!.data, b!.data, JSON.stringify(each))
    }
  }

  it('changes no picture: prompts that come and come again, LoRAs that come and go', () =>
    sameOf({}, [
      {},
      { content: 'a coffee machine' },
      { loras: [lora] },
      { loras: [{ ...lora, strength: 0.5 }], content: 'a teapot' },
      { loras: [{ ...lora, strength: 0.5 }], layout: { prompt: 'a castle' } },
      {},
      { negativePrompt: 'rain', attention: { corgi: -1 } },
      { interpolate: { prompt: 'a bear', weight: 0.5 }, score: true },
      { content: '[a corgi:a coffee machine:0.5]' },
    ]))

  it('nor with LoRAs and embeddings of load, with nothing kept, in q8_0', async () => {
    const embeddings = { '<two>': fixture('sdxl/embedding.safetensors') }
    const requests = [{}, { content: 'a <two> in the rain' }, { loras: [] }]
    await sameOf({ loras: [lora], embeddings, cacheBytes: 0 }, requests)
    await sameOf({ loras: [lora], embeddings, precision: 'q8_0' }, requests)
  })

  it('nor of a sweep, nor in a process of its own', async () => {
    await using kept = await loadXl({})
    await using released = await loadXl({ releaseTextEncoders: true, isolate: true })
    assert.deepEqual((await released.mix(request)).data, (await kept.mix(request)).data)
    const sweep = { ...request, vary: { content: ['a corgi', 'a teapot'], nu: [0.5, 0.9] } }
    const picturesOf = async (mixer: MagicMix) => {
      const pictures: Buffer[] = []
      for await (const { mix } of mixer.sweep(sweep)) pictures.push(Buffer.from(mix.data))
      return pictures
    }
    assert.deepEqual(await picturesOf(released), await picturesOf(kept))
  })

  it('tells how much memory that is', async () => {
    await using mixer = await loadXl({ releaseTextEncoders: true })
    const { weights, textEncoders } = mixer.model.memory
    const { parameters } = mixer.model
    assert.ok(textEncoders >= 2 * parameters.textEncoder && textEncoders < weights)
    await using kept = await loadXl({})
    assert.ok(Math.abs(kept.model.memory.textEncoders - textEncoders) < 1000)
  })

  it('reads them for new prompts alone: from a file that has changed none', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-texts-'))
    try {
      const model = path.join(folder, 'model.safetensors')
      await copyFile(await tinyXlModel(), model)
      await using mixer = await loadXl({ model, releaseTextEncoders: true })
      await using other = await loadXl({ model })
      const known = await mixer.mix(request)
      await truncate(model, 1000)
      const unknown = { ...request, content: 'a teapot' }
      await assert.rejects(mixer.mix(unknown), coded('MODEL_FORMAT', /has changed/))
      assert.deepEqual((await mixer.mix(request)).data, known.data)
      await other.mix(unknown)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('is read for the prediction type at load, and goes on after a mix that was cancelled', async () => {
    const options = { ...common, model: await tinyModel(), config: tinyHeads }
    await using kept = await MagicMix.load(options)
    await using released = await MagicMix.load({ ...options, releaseTextEncoders: true })
    assert.equal(released.model.prediction, kept.model.prediction)
    const controller = new AbortController()
    const onProgress = ({ stage }: { stage: string }) => {
      if (stage === 'encode') controller.abort()
    }
    const mixing = released.mix({ ...request, signal: controller.signal, onProgress })
    await assert.rejects(mixing, { name: 'AbortError' })
    assert.deepEqual((await released.mix(request)).data, (await kept.mix(request)).data)
    const [a, b] = await Promise.all(
      [kept, released].map(
        async (mixer) => (await nativeOf(mixer).encodeText(idsOf(mixer, 'a bear')).done).states,
      ),
    )
    assert.deepEqual(a, b)
  })

  it('takes true and false alone', async () => {
    const wrong = { releaseTextEncoders: 'yes' } as unknown as LoadOptions
    await assert.rejects(loadXl(wrong), coded('INVALID_ARGUMENT', /releaseTextEncoders/))
  })
})
