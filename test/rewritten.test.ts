/** Files that somebody writes into while they are read, or while a model that needs them is loaded. */
import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rm, stat, truncate, writeFile, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, MagicMixError } from 'magicmix'

import { tinyHeads, tinyModel } from './support/models.js'
import { coded } from './support/refusals.js'
import { fixture } from './support/package-root.js'

describe('files that change', function () {
  this.timeout(120_000)
  const smallRequest = {
    ...{ layout: fixture('landscape64.png'), content: 'a corgi', seed: 1 },
    ...{ steps: 4, width: 64, height: 64 },
  }
  const lora = fixture('field/files/control-lora-kohya.safetensors')
  let folder: string
  let model: string
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-rewritten-'))
    model = path.join(folder, 'model.safetensors')
    await copyFile(await tinyModel(), model)
  })
  afterEach(() => rm(folder, { recursive: true }))

  const load = () =>
    MagicMix.load({ model, config: tinyHeads, device: 'cpu', precision: 'f32', threads: 1 })

  it('a checkpoint that is cut short in place is refused where it is read again', async () => {
    await using mixer = await load()
    const plain = await mixer.mix(smallRequest)
    await truncate(model, 1000)
    const mixing = mixer.mix({ ...smallRequest, loras: [{ file: lora }] })
    await assert.rejects(mixing, coded('MODEL_FORMAT', /model\.safetensors' has changed/))
    assert.deepEqual((await mixer.mix(smallRequest)).data, plain.data)
  })

  it('a LoRA that is written over in place is taken up; one that is cut short is refused', async () => {
    const file = path.join(folder, 'style.safetensors')
    await copyFile(lora, file)
    await using mixer = await load()
    const request = { ...smallRequest, loras: [{ file }] }
    const first = await mixer.mix(request)
    const other = await readFile(fixture('field/files/f11-alpha-int64.safetensors'))
    await writeFile(file, other)
    const second = await mixer.mix(request)
    assert.notDeepEqual(second.data, first.data)
    await truncate(file, (await stat(file)).size - 100)
    await assert.rejects(mixer.mix(request), coded('MODEL_FORMAT', /truncated/))
    await copyFile(lora, file)
    assert.deepEqual((await mixer.mix(request)).data, first.data)
  })

  it('a checkpoint that is cut short while it is loaded', async () => {
    const whole = await readFile(model)
    const ends = new Set<string>()
    for (let i = 0; i < 8; i++) {
      const loading = load().then(
        async (mixer) => {
          await mixer.dispose()
          return 'loaded'
        },
        (error: MagicMixError) => error.code,
      )
      await new Promise((resolve) => setTimeout(resolve, 5 * i))
      await truncate(model, whole.length >> 1)
      ends.add(await loading)
      await writeFile(model, whole)
    }
    for (const end of ends) assert.match(end, /^(loaded|MODEL_FORMAT)$/)
  })
})
