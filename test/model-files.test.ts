/** Models whose files do not fit together, or have more than the networks: refused by name. */
import assert from 'node:assert/strict'
import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'

import { tinyDiffusers, tinyHeads, tinyModel } from './support/models.js'
import { native } from './support/native.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'
import type { SafetensorsFile } from './support/safetensors.js'
import { statesOf } from './support/small-mix.js'

describe("a model's files", function () {
  this.timeout(120_000)
  const plain = { device: 'cpu', precision: 'f32', threads: 1 } as const
  let folder: string
  let whole: SafetensorsFile
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-files-'))
    whole = readSafetensors(await tinyModel())
  })
  after(() => rm(folder, { recursive: true }))

  const load = (model: string, options: object = {}) =>
    MagicMix.load({ ...{ model, config: tinyHeads, device: 'cpu' }, threads: 1, ...options })

  /** The tiny model as a file, with further tensors, or with others in their place. */
  async function fileWith(
    tensors: Record<string, { dtype: string; shape: number[] }>,
    name = 'model.safetensors',
  ): Promise<string> {
    const header: Record<string, object> = { ...whole.header }
    let end = whole.data.length
    for (const [key, { dtype, shape }] of Object.entries(tensors)) {
      const begin = end
      end += shape.reduce((a, b) => a * b, dtype === 'I64' ? 8 : 2)
      header[key] = { dtype, shape, data_offsets: [begin, end] }
    }
    const file = path.join(folder, name)
    const data = Buffer.concat([whole.data, Buffer.alloc(end - whole.data.length)])
    await writeFile(file, safetensorsBytes(header, data))
    return file
  }

  const one = { dtype: 'F16', shape: [1] }

  it('with tensors of the three networks that these have no place for', async () => {
    for (const name of [
      'model.diffusion_model.input_blocks.1.0.gate',
      'model.diffusion_model.input_blocks.0.0.scale_weight',
      'first_stage_model.decoder.condition_encoder.conv.weight',
      'cond_stage_model.transformer.text_model.encoder.layers.0.adapter',
    ]) {
      const model = await fileWith({ [name]: one })
      const message = new RegExp(`1 tensor that.*no place for: '${name}'.*another kind`)
      await assert.rejects(load(model), coded('MODEL_UNSUPPORTED', message))
      const output = path.join(folder, 'out.gguf')
      await assert.rejects(
        convert({ input: model, output, config: tinyHeads }),
        coded('MODEL_UNSUPPORTED', message),
      )
    }
  })

  it('with further tensors that mixing has no use for load and are converted', async () => {
    const model = await fileWith({
      'model_ema.decay': one,
      betas: one,
      'optimizer.state.0': { dtype: 'I64', shape: [3] },
      'first_stage_model.loss.logvar': one,
      'cond_stage_model.transformer.text_model.embeddings.position_ids': {
        dtype: 'I64',
        shape: [1, 77],
      },
      'cond_stage_model.transformer.text_projection.weight': one,
      'cond_stage_model.logit_scale': one,
    })
    await (await load(model)).dispose()
    const output = path.join(folder, 'further.gguf')
    await convert({ input: model, output, config: tinyHeads })
    await (await MagicMix.load({ model: output, device: 'cpu', threads: 1 })).dispose()
  })

  it('with a VAE of another class in a folder', async () => {
    const model = path.join(folder, 'asymmetric')
    await cp(await tinyDiffusers(), model, { recursive: true })
    const file = path.join(model, 'vae', 'diffusion_pytorch_model.safetensors')
    const { header, data } = readSafetensors(file)
    const more = { 'decoder.condition_encoder.layers.0.weight': { ...one, data_offsets: [0, 0] } }
    const begin = data.length
    more['decoder.condition_encoder.layers.0.weight'].data_offsets = [begin, begin + 2]
    await writeFile(
      file,
      safetensorsBytes({ ...header, ...more }, Buffer.concat([data, Buffer.alloc(2)])),
    )
    await assert.rejects(
      load(model, { config: {} }),
      coded('MODEL_UNSUPPORTED', /no place for: 'decoder\.condition_encoder/),
    )
  })

  it('with rows of the token table that no tokenizer names', async () => {
    const table = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'
    const model = await fileWith({ [table]: { dtype: 'F16', shape: [49410, 64] } })
    await assert.rejects(
      load(model),
      coded('MODEL_UNSUPPORTED', /49410 rows, of which no tokenizer names row 49408.*tokenizer\//),
    )
  })

  it('with a tokenizer of another vocabulary, or ids that contradict', async () => {
    const model = path.join(folder, 'tokens')
    await cp(await tinyDiffusers(), model, { recursive: true })
    const write = async (files: Record<string, string>) => {
      const target = path.join(model, 'tokenizer')
      await rm(target, { recursive: true, force: true })
      await cp(path.join(model, 'scheduler'), target, { recursive: true })
      for (const [name, text] of Object.entries(files)) {
        await writeFile(path.join(target, name), text)
      }
    }
    const refused: [files: Record<string, string>, code: string, message: RegExp][] = [
      [{ 'merges.txt': '#version: 0.2\na b\n' }, 'MODEL_UNSUPPORTED', /another vocabulary/],
      [{ 'added_tokens.json': '{"<x>": 49408}' }, 'MODEL_FORMAT', /'<x>' the id 49408.*49408 rows/],
      [{ 'added_tokens.json': '{"<x>": 17}' }, 'MODEL_FORMAT', /id 17 to '<x>'.*one of CLIP's/],
      [{ 'added_tokens.json': '{"<x>": "y"}' }, 'MODEL_FORMAT', /not a text with an id/],
      [
        { 'tokenizer_config.json': '{"pad_token": "<nothing>"}' },
        'MODEL_UNSUPPORTED',
        /pad_token is '<nothing>'/,
      ],
      [
        { 'tokenizer_config.json': '{"tokenizer_class": "BertTokenizer"}' },
        'MODEL_UNSUPPORTED',
        /tokenizer_class is "BertTokenizer"/,
      ],
    ]
    for (const [files, code, message] of refused) {
      await write(files)
      await assert.rejects(load(model, { config: {} }), coded(code, message))
    }
  })

  it('for a clipSkip beyond the text encoder, or a VAE that is none', async () => {
    const model = await tinyModel()
    await assert.rejects(
      load(model, { clipSkip: 3 }),
      coded('INVALID_ARGUMENT', /clipSkip is 3.*only 2 layers/),
    )
    const vae = path.join(folder, 'unet.safetensors')
    const header = { 'model.diffusion_model.out.2.bias': { ...one, data_offsets: [0, 2] } }
    await writeFile(vae, safetensorsBytes(header, Buffer.alloc(2)))
    await assert.rejects(load(model, { vae }), coded('MODEL_FORMAT', /has no autoencoder \(VAE\)/))
    await assert.rejects(load(model, { vae: 'nowhere.safetensors' }), coded('MODEL_NOT_FOUND', /./))
  })

  it('without a VAE are completed by one, whatever names it has', async () => {
    const right = await statesOf(await tinyDiffusers(), plain)
    const model = path.join(folder, 'no-vae')
    await cp(await tinyDiffusers(), model, { recursive: true })
    const vae = path.join(folder, 'vae')
    await rename(path.join(model, 'vae'), vae)
    await assert.rejects(load(model, { config: {} }), coded('MODEL_NOT_FOUND', /option vae/))
    assert.deepEqual(await statesOf(model, { ...plain, vae }), right)

    // a whole file whose VAE has the names of diffusers
    const { header, data } = readSafetensors(path.join(vae, 'diffusion_pytorch_model.safetensors'))
    const others = Object.entries(whole.header).filter(([name]) => !name.startsWith('first_stage'))
    const moved = Object.entries(header).map(
      ([
        name,
        {
          data_offsets: [from, to],
          ...entry
        },
      ]) => {
        const at = [from + whole.data.length, to + whole.data.length]
        return [`first_stage_model.${name}`, { ...entry, data_offsets: at }] as const
      },
    )
    const file = path.join(folder, 'mixed-names.safetensors')
    const all = Object.fromEntries([...others, ...moved.filter(([name]) => !/metadata/.test(name))])
    await writeFile(file, safetensorsBytes(all, Buffer.concat([whole.data, data])))
    assert.deepEqual(await statesOf(file, { ...plain, config: tinyHeads }), right)
  })

  it('can be given up while they are opened', async () => {
    // Parsing takes most of a second; then it would be refused for what it is.
    const room = ' '.repeat(1500)
    const entry = (i: number) => `"t${i}":{"dtype":"F32",${room}"shape":[0],"data_offsets":[0,0]}`
    const header = `{${Array.from({ length: 60_000 }, (_, i) => entry(i)).join()}}`
    const model = path.join(folder, 'large.safetensors')
    await writeFile(model, safetensorsBytes(header, Buffer.alloc(8)))
    await assert.rejects(native.inspect(model, {}).done, { code: 'MODEL_FORMAT' })
    const opening = native.inspect(model, {})
    setTimeout(() => opening.cancel(), 50)
    await assert.rejects(opening.done, { code: 'CANCELLED' })
  })
})
