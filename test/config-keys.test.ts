/**
 * Every key of a model's configuration files is honoured, harmless or refused by name: the whole
 * table of the engine, and keys that are not in it.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'

import { tinyDiffusers, tinyHeads, tinyModel, tinyXlDiffusers } from './support/models.js'
import { native } from './support/native.js'
import { tinyDecoders, writeTinyFolder } from './support/tiny-decoders.js'
import { coded } from './support/refusals.js'

describe('keys of configuration files', function () {
  this.timeout(120_000)
  const keys = native.configKeys()
  const yaml = 'MODEL.yaml'
  const tiny = 'tinyDecoder'
  let folder: string
  let model: string
  let xl: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-keys-'))
    model = path.join(folder, 'model')
    await cp(await tinyDiffusers(), model, { recursive: true })
    await mkdir(path.join(model, 'tokenizer'))
    for (const file of ['tokenizer_config.json', 'special_tokens_map.json']) {
      await writeFile(path.join(model, 'tokenizer', file), '{}')
    }
    await writeTinyFolder(path.join(model, tiny), tinyDecoders.small)
    xl = path.join(folder, 'xl')
    await cp(await tinyXlDiffusers(), xl, { recursive: true })
    await writeFile(path.join(xl, 'tokenizer_2', 'special_tokens_map.json'), '{}')
  })
  after(() => rm(folder, { recursive: true }))

  const described = (set: Record<string, unknown>, file: string) =>
    withKeys(/_2\//.test(file) ? xl : model, file, set)

  /** Opens the folder with these keys in a file of it, and puts the file back. */
  async function withKeys(root: string, file: string, set: Record<string, unknown>) {
    const target = path.join(root, file)
    const original = await readFile(target, 'utf8')
    await writeFile(target, JSON.stringify({ ...(JSON.parse(original) as object), ...set }))
    try {
      const tinyDecoder = file.startsWith(tiny) ? path.join(root, tiny) : undefined
      return await native.inspect(root, {}, { tinyDecoder }).done
    } finally {
      await writeFile(target, original)
    }
  }

  /** Opens a single file with this configuration beside it; keys have dots between them. */
  async function withYaml(key: string, value: unknown) {
    const nested = key
      .split('.')
      .reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as object
    const originalConfig = JSON.stringify({ model: {}, ...nested })
    return native.inspect(await tinyModel(), tinyHeads, { originalConfig }).done
  }

  const open = (file: string, key: string, value: unknown) =>
    file === yaml ? withYaml(key, value) : described({ [key]: value }, file)

  it('are many', () => assert.ok(keys.length > 300))

  for (const file of new Set(keys.map((key) => key.file))) {
    const ofFile = keys.filter((key) => key.file === file)

    it(`of ${file}: unknown ones are refused by name`, async () => {
      for (const value of [true, null, 0.5, ['a'], { a: 1 }]) {
        const opening = open(file, 'sharpness_of_dreams', value)
        await assert.rejects(opening, (error: Error & { code: string }) => {
          assert.equal(error.code, 'MODEL_UNSUPPORTED')
          assert.match(error.message, /sharpness_of_dreams.*not known here/)
          return true
        })
      }
    })

    it(`of ${file}: other values than those accepted are refused by name`, async () => {
      for (const { key, treatment } of ofFile) {
        if (treatment !== 'only') continue
        await assert.rejects(open(file, key, 'something else'), (error: Error) => {
          assert.ok(error.message.includes(key), error.message)
          assert.match(error.message, /something else.*accepted: \[/)
          return true
        })
      }
    })

    it(`of ${file}: harmless ones change nothing, and accepted values are accepted`, async () => {
      const plain = file === yaml ? await withYaml('data', {}) : await described({}, file)
      for (const { key, treatment, values } of ofFile) {
        const given =
          treatment === 'harmless'
            ? ['some text']
            : treatment === 'only'
              ? (JSON.parse(values) as unknown[])
              : []
        for (const value of given) {
          // a class is read to tell what a folder is
          if (key === '_class_name' && treatment === 'harmless') continue
          const { model: found, problem } = await open(file, key.replace('.*', '.any'), value)
          assert.equal(problem, plain.problem, key)
          assert.deepEqual(found?.sizes, plain.model?.sizes, key)
        }
      }
    })
  }

  it('that contradict the weights are refused', async () => {
    const contradictions: [file: string, set: Record<string, unknown>, message: RegExp][] = [
      [
        'unet',
        { block_out_channels: [32, 64, 128, 256] },
        /block_out_channels \[32, 64, 128, 256\]/,
      ],
      ['unet', { layers_per_block: 3 }, /layers_per_block \[3\].*\[2\]/],
      ['unet', { cross_attention_dim: 768 }, /cross_attention_dim \[768\].*\[64\]/],
      ['unet', { mid_block_type: null }, /no middle block/],
      [
        'unet',
        { mid_block_type: 'UNetMidBlock2D' },
        /a middle block of one ResBlock.*has a middle block/,
      ],
      ['vae', { block_out_channels: [128] }, /autoencoder.*block_out_channels \[128\]/],
      ['vae', { layers_per_block: 1 }, /layers_per_block \[1\]/],
      ['text_encoder', { num_hidden_layers: 12 }, /num_hidden_layers 12.*2 layers/],
    ]
    for (const [part, set, message] of contradictions) {
      const told = await described(set, `${part}/config.json`).then(
        ({ problem }) => problem,
        (error: Error) => error.message,
      )
      assert.match(told, message)
    }
  })

  it('in a .yaml that is none, and of models that are none', async () => {
    const file = path.join(folder, 'single.safetensors')
    await cp(await tinyModel(), file)
    const beside = path.join(folder, 'single.yaml')
    const load = () =>
      MagicMix.load({ model: file, config: tinyHeads, device: 'cpu', precision: 'f32', threads: 1 })
    await writeFile(beside, 'model: {params: [')
    await assert.rejects(load(), coded('MODEL_FORMAT', /single\.yaml' is not the configuration/))
    await writeFile(beside, 'model:\n  params:\n    parameterization: x0\n')
    await assert.rejects(load(), coded('MODEL_UNSUPPORTED', /parameterization is "x0"/))
    await writeFile(beside, 'shopping:\n  - milk\n')
    await (await load()).dispose()
    await writeFile(beside, 'model:\n  params:\n    parameterization: v\n    scale_factor: 0.5\n')
    await using mixer = await load()
    assert.equal(mixer.model.prediction, 'v_prediction')
    assert.equal(mixer.model.sizes.vae.scalingFactor, 0.5)
  })
})
