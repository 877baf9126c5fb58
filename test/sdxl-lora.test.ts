/**
 * LoRAs and embeddings of Stable Diffusion XL, on both text encoders, against weights that were merged
 * beforehand, here, in plain loops; what is for another family is refused with a word on it.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { LoadOptions, Lora, MixRequest } from 'magicmix'

import { assertClose, difference } from './support/closeness.js'
import { diffusersName } from './support/diffusers.js'
import { xlParts } from './support/diffusers-xl.js'
import { formulaCheckpoint, tinyXlConfig, writeSafetensors } from './support/formula-model.js'
import {
  tinyHeads,
  tinyModel,
  tinyXlDiffusers,
  tinyXlHeads,
  tinyXlModel,
} from './support/models.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes, tensorValues } from './support/safetensors.js'
import type { Entry, SafetensorsFile } from './support/safetensors.js'

const unet = 'model.diffusion_model.'
const first = 'conditioner.embedders.0.transformer.'
const second = 'conditioner.embedders.1.transformer.'
const request: MixRequest = {
  ...{ layout: { prompt: 'a loaf of bread' }, content: 'a corgi', negativePrompt: 'blue' },
  ...{ width: 64, height: 64, steps: 3, seed: 1, trace: true },
}

type Tensors = Record<string, { shape: number[]; values: Float32Array }>

describe('LoRAs and embeddings of SDXL', function () {
  this.timeout(120_000)
  let folder: string
  /** With the names of transformers in both text encoders. */
  let base: SafetensorsFile
  let mixer: MagicMix
  let plain: Float32Array
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-xl-lora-'))
    const output = path.join(folder, 'base.safetensors')
    const others = formulaCheckpoint(tinyXlConfig, 'F32').filter(
      ({ name }) => !name.startsWith('conditioner.embedders.1.'),
    )
    const encoder = xlParts({ dtype: 'F32' }).text_encoder_2
    const renamed = encoder.map((tensor) => ({ ...tensor, name: second + tensor.name }))
    await writeSafetensors(output, [...others, ...renamed])
    base = readSafetensors(output)
    // Its second text encoder has queries, keys and values in one.
    mixer = await load({ model: await tinyXlModel('F32') })
    plain = await latentOf(mixer)
  })
  after(async () => {
    await mixer.dispose()
    await rm(folder, { recursive: true })
  })

  function load(options: LoadOptions): Promise<MagicMix> {
    const common = { config: tinyXlHeads, precision: 'f32', threads: 1, device: 'cpu' } as const
    return MagicMix.load({ ...common, ...options })
  }

  async function latentOf(
    one: MagicMix,
    loras?: readonly Lora[],
    changed: Partial<MixRequest> = {},
  ): Promise<Float32Array> {
    return (await one.mix({ ...request, ...changed, loras })).trace.at(-1)!.latent
  }

  async function write(name: string, tensors: Tensors): Promise<string> {
    const file = path.join(folder, `${name}.safetensors`)
    await writeFile(file, fileOf(tensors))
    return file
  }

  /** The last latent with weights that were changed before they were loaded. */
  async function latentWithMerged(
    changes: { weight: string; delta: ArrayLike<number>; strength: number }[],
  ): Promise<Float32Array> {
    const data = Buffer.from(base.data)
    for (const { weight, delta, strength } of changes) {
      const [begin] = base.header[weight]!.data_offsets
      Array.from(delta).forEach((value, i) => {
        const at = begin + 4 * i
        data.writeFloatLE(data.readFloatLE(at) + strength * value, at)
      })
    }
    const file = path.join(folder, 'merged.safetensors')
    await writeFile(file, safetensorsBytes(base.header, data))
    await using merged = await load({ model: file })
    return await latentOf(merged)
  }

  const shapeOf = (weight: string) => base.header[weight]!.shape as [number, number, ...number[]]
  const values = (seed: number, count: number, size = 1) => {
    const next = pseudorandom(seed)
    return Float32Array.from({ length: count }, () => size * next())
  }

  /** Random factors of a weight, about a tenth of its size when multiplied. */
  function factors(weight: string, rank: number, seed: number) {
    const [out, inner, ...kernel] = shapeOf(weight)
    const columns = kernel.reduce((a, b) => a * b, inner)
    const down = values(seed + columns, rank * columns)
    const up = values(seed + out + weight.length, out * rank, 0.3 / Math.sqrt(columns))
    const ones = kernel.map(() => 1)
    return {
      down: { shape: [rank, inner, ...kernel], values: down },
      up: { shape: [out, rank, ...ones], values: up },
      delta: product(up, down, out, rank, columns),
    }
  }

  /** Weights of everything that a LoRA changes. */
  function targets(): string[] {
    return Object.keys(base.header).filter(
      (name) =>
        [unet, first, second].some((prefix) => name.startsWith(prefix)) &&
        base.header[name]!.shape.length > 1 &&
        !name.includes('_embedding'),
    )
  }

  const module = (weight: string, prefix: string) =>
    weight.slice(prefix.length).replace(/\.weight$/, '')
  const ofText = (weight: string) =>
    weight.startsWith(first) ? module(weight, first) : module(weight, second)
  const inDiffusers = (weight: string) => diffusersName(weight).replace(/\.weight$/, '')
  const underscored = (name: string) => name.replaceAll('.', '_')
  const encoder = (weight: string, names: [string, string]) =>
    weight.startsWith(first) ? names[0] : names[1]
  const kohya = (weight: string) =>
    weight.startsWith(unet)
      ? `lora_unet_${underscored(inDiffusers(weight))}`
      : encoder(weight, ['lora_te1_', 'lora_te2_']) + underscored(ofText(weight))
  const peft = (weight: string) =>
    weight.startsWith(unet)
      ? `unet.${inDiffusers(weight)}`
      : encoder(weight, ['text_encoder.', 'text_encoder_2.']) + ofText(weight)

  type Naming = (weight: string) => [down: string, up: string, alpha?: string]
  const pair = (name: string, down: string, up: string): [string, string] => [
    `${name}.${down}.weight`,
    `${name}.${up}.weight`,
  ]
  const namings: Record<string, Naming> = {
    'of kohya': (weight) => [
      ...pair(kohya(weight), 'lora_down', 'lora_up'),
      `${kohya(weight)}.alpha`,
    ],
    'of kohya, with the original blocks': (weight) => {
      const name = weight.startsWith(unet)
        ? `lora_unet_${underscored(module(weight, unet))}`
        : kohya(weight)
      return [...pair(name, 'lora_down', 'lora_up'), `${name}.alpha`]
    },
    'of PEFT': (weight) => pair(peft(weight), 'lora_A', 'lora_B'),
    'of PEFT, with those of transformers since 5.6': (weight) =>
      pair(peft(weight).replace('.text_model.', '.'), 'lora_A', 'lora_B'),
    'of diffusers, in between': (weight) =>
      weight.startsWith(unet)
        ? pair(peft(weight), 'lora.down', 'lora.up')
        : pair(peft(weight), 'lora_linear_layer.down', 'lora_linear_layer.up'),
    'of ComfyUI': (weight) => {
      const name = weight.startsWith(unet)
        ? `diffusion_model.${module(weight, unet)}`
        : `text_encoders.clip_${encoder(weight, ['l', 'g'])}.transformer.${ofText(weight)}`
      return [...pair(name, 'lora_down', 'lora_up'), `${name}.alpha`]
    },
  }
  for (const [naming, names] of Object.entries(namings)) {
    it(`with the names ${naming}, on every weight`, async () => {
      const rank = 2
      const tensors: Tensors = {}
      const changes = targets().map((weight) => {
        const { down, up, delta } = factors(weight, rank, 1)
        const [downName, upName, alpha] = names(weight)
        tensors[downName] = down
        tensors[upName] = up
        if (alpha !== undefined) tensors[alpha] = { shape: [], values: Float32Array.of(1) }
        return { weight, delta, strength: 0.7 / (alpha === undefined ? 1 : rank) }
      })
      assert.ok(changes.some(({ weight }) => weight.endsWith('text_projection.weight')))
      const file = await write('all', tensors)
      const actual = await latentOf(mixer, [{ file, strength: 0.7 }])
      assertClose('the last latent', actual, await latentWithMerged(changes), 2e-5)
      assert.ok(difference(actual, plain).relativeL2 > 0.01)
      assert.deepEqual(await latentOf(mixer), plain)
    })
  }

  it('of PEFT, a folder whose configuration has the alpha', async () => {
    const weight = `${unet}middle_block.1.transformer_blocks.1.attn2.to_k.weight`
    const { down, up, delta } = factors(weight, 4, 3)
    const adapter = path.join(folder, 'adapter')
    await mkdir(adapter)
    const [downName, upName] = pair(`base_model.model.${inDiffusers(weight)}`, 'lora_A', 'lora_B')
    await writeFile(
      path.join(adapter, 'adapter_model.safetensors'),
      fileOf({ [downName]: down, [upName]: up }),
    )
    const config = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['to_k'] }
    await writeFile(path.join(adapter, 'adapter_config.json'), JSON.stringify(config))
    const expected = await latentWithMerged([{ weight, delta, strength: 2 }])
    const actual = await latentOf(mixer, [{ file: adapter }])
    assertClose('the last latent', actual, expected, 2e-5)
    assert.notDeepEqual(actual, plain)
  })

  describe('of other methods, on a part of a fused projection', () => {
    const weight = `${second}text_model.encoder.layers.1.self_attn.k_proj.weight`
    const [out, inner, rank] = [96, 96, 4]

    it('DoRA', async () => {
      const { down, up, delta } = factors(weight, rank, 5)
      const lengths = values(6, out).map((value) => 1.5 + value)
      const before = tensorValues(base, weight)
      const change = new Float64Array(out * inner)
      for (let row = 0; row < out; row++) {
        const changed = Array.from({ length: inner }, (_, i) => {
          const at = row * inner + i
          return before[at]! + delta[at]!
        })
        const norm = Math.hypot(...changed)
        changed.forEach((value, i) => {
          const at = row * inner + i
          change[at] = (lengths[row]! * value) / norm - before[at]!
        })
      }
      const file = await write('dora', {
        [`${kohya(weight)}.lora_down.weight`]: down,
        [`${kohya(weight)}.lora_up.weight`]: up,
        [`${kohya(weight)}.dora_scale`]: { shape: [out, 1], values: lengths },
      })
      await compare(file, change)
    })

    it('LoHa', async () => {
      const parts = [1, 2, 3, 4].map((seed) => values(seed, 96 * rank, 0.3))
      const [a1, b1, a2, b2] = parts as [Float32Array, Float32Array, Float32Array, Float32Array]
      const name = kohya(weight)
      const file = await write('loha', {
        [`${name}.hada_w1_a`]: { shape: [out, rank], values: a1 },
        [`${name}.hada_w1_b`]: { shape: [rank, inner], values: b1 },
        [`${name}.hada_w2_a`]: { shape: [out, rank], values: a2 },
        [`${name}.hada_w2_b`]: { shape: [rank, inner], values: b2 },
      })
      const other = product(a2, b2, out, rank, inner)
      await compare(
        file,
        product(a1, b1, out, rank, inner).map((value, i) => value * other[i]!),
      )
    })

    it('LoKr', async () => {
      const [left, right] = [values(7, 4 * 4, 0.3), values(8, 24 * 24, 0.3)]
      const file = await write('lokr', {
        [`${kohya(weight)}.lokr_w1`]: { shape: [4, 4], values: left },
        [`${kohya(weight)}.lokr_w2`]: { shape: [24, 24], values: right },
      })
      const delta = new Float64Array(out * inner)
      for (let row = 0; row < out; row++)
        for (let column = 0; column < inner; column++)
          delta[row * inner + column] =
            left[4 * Math.floor(row / 24) + Math.floor(column / 24)]! *
            right[24 * (row % 24) + (column % 24)]!
      await compare(file, delta)
    })

    async function compare(file: string, delta: ArrayLike<number>): Promise<void> {
      const expected = await latentWithMerged([{ weight, delta, strength: 1 }])
      const actual = await latentOf(mixer, [{ file }])
      assertClose('the last latent', actual, expected, 2e-5)
      assert.ok(difference(actual, plain).relativeL2 > 1e-4)
    }
  })

  describe('of another family', () => {
    const zeros = (...shape: number[]) => ({
      ...{ shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
    })
    const lora = (name: string, width: number) => ({
      [`${name}.lora_down.weight`]: zeros(2, width),
      [`${name}.lora_up.weight`]: zeros(320, 2),
    })
    const block = 'transformer_blocks_0_attn2_to_k'

    it('is refused by XL', async () => {
      for (const [width, family] of [
        [768, 'sd1'],
        [1024, 'sd2'],
      ] as const) {
        for (const place of ['down_blocks_0_attentions_0', 'down_blocks_1_attentions_0']) {
          const file = await write('other', lora(`lora_unet_${place}_${block}`, width))
          await assert.rejects(
            latentOf(mixer, [{ file }]),
            coded(
              'MODEL_UNSUPPORTED',
              new RegExp(`another network \\(it is one for ${family}\\):`),
            ),
          )
        }
      }
    })

    it('is refused by others than XL', async () => {
      await using sd1 = await load({ model: await tinyModel(), config: tinyHeads })
      for (const tensors of [
        lora(`lora_unet_down_blocks_1_attentions_0_${block}`, 2048),
        lora(`lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn2_to_k`, 2048),
        lora('lora_te2_text_model_encoder_layers_0_mlp_fc1', 1280),
        lora('text_encoder_2.text_model.encoder.layers.0.mlp.fc1', 1280),
      ]) {
        const file = await write('xl', tensors)
        await assert.rejects(
          latentOf(sd1, [{ file }]),
          coded('MODEL_UNSUPPORTED', /another network \(it is one for sdxl\):/),
        )
      }
    })
  })

  describe('embeddings', () => {
    const vectors = (seed: number, count: number, width: number) => ({
      ...{ shape: [count, width], values: values(seed, count * width, 0.5) },
    })
    const both = { clip_l: vectors(1, 2, 64), clip_g: vectors(2, 2, 96) }

    it('come with a LoRA, for both text encoders', async () => {
      const embedding = await write('embedding', both)
      const weight = `${second}text_model.encoder.layers.0.mlp.fc1.weight`
      const { down, up } = factors(weight, 2, 9)
      const file = await write('bundle', {
        [`${kohya(weight)}.lora_down.weight`]: down,
        [`${kohya(weight)}.lora_up.weight`]: up,
        'bundle_emb.blob.clip_l': both.clip_l,
        'bundle_emb.blob.clip_g': both.clip_g,
      })
      const content = { content: 'a photo of a blob' }
      const model = await tinyXlModel('F32')
      await using bundled = await load({ model, loras: [{ file }] })
      assert.equal(bundled.tokenize('blob').length, 4)
      await using given = await load({ model, embeddings: { blob: embedding }, loras: [{ file }] })
      const expected = await latentOf(given, undefined, content)
      assert.deepEqual(await latentOf(bundled, undefined, content), expected)
      assert.notDeepEqual(await latentOf(bundled, [], content), expected)
      assert.notDeepEqual(await latentOf(mixer, undefined, content), expected)
    })

    for (const [title, tensors, message] of [
      ['with clip_l alone', { clip_l: both.clip_l }, /has no tensor 'clip_g'.*both text encoders/],
      ['with clip_g alone', { clip_g: both.clip_g }, /has no tensor 'clip_l'.*both text encoders/],
      ['of SD 1.x', { emb_params: vectors(1, 1, 768) }, /Stable Diffusion XL has vectors for both/],
      [
        'with different numbers of vectors',
        { ...both, clip_g: vectors(2, 3, 96) },
        /2 vectors for the first text encoder, and 3 for the second/,
      ],
      [
        'of another width',
        { ...both, clip_g: vectors(2, 2, 1280) },
        /width 1280 \(tensor 'clip_g'\).*has width 96/,
      ],
    ] as const) {
      it(`${title} are refused`, async () => {
        const file = await write('refused', tensors)
        const loading = load({ model: await tinyXlModel(), embeddings: { blob: file } })
        await assert.rejects(loading, coded('MODEL_UNSUPPORTED', message))
      })
    }

    it('of XL are refused by other models', async () => {
      for (const tensors of [both, { clip_g: both.clip_g }]) {
        const file = await write('of-xl', tensors)
        await assert.rejects(
          load({ model: await tinyModel(), config: tinyHeads, embeddings: { blob: file } }),
          coded('MODEL_UNSUPPORTED', /embedding for Stable Diffusion XL/),
        )
      }
    })
  })

  describe('learnt tokens of a folder', () => {
    it('are rows of both tables', async () => {
      const embedding = await write('learnt', {
        clip_l: { shape: [1, 64], values: values(1, 64, 0.5) },
        clip_g: { shape: [1, 96], values: values(2, 96, 0.5) },
      })
      const model = await withLearnt({ 49408: '<blob>' }, { 49408: '<blob>' }, 49409)
      await using mixer = await load({ model })
      const content = { content: 'a photo of a <blob>' }
      assert.deepEqual(
        mixer.tokenize('<blob>').map(({ id }) => id),
        [49406, 49408, 49407],
      )
      const file = await tinyXlModel()
      await using given = await load({ model: file, embeddings: { '<blob>': embedding } })
      const actual = await latentOf(mixer, [], content)
      assertClose('latent', actual, await latentOf(given, [], content), 1e-5)
    })

    it('have to be the same in tokenizer and tokenizer_2', async () => {
      for (const [one, two] of [
        [{ 49408: '<blob>' }, {}],
        [{ 49408: '<blob>' }, { 49408: '<blot>' }],
      ]) {
        await assert.rejects(
          load({ model: await withLearnt(one!, two!, 49409) }),
          coded('MODEL_UNSUPPORTED', /other learnt tokens in tokenizer\/ than in tokenizer_2/),
        )
      }
    })

    it('have to have a row in both text encoders', async () => {
      const model = await withLearnt(
        { 49408: '<blob>' },
        { 49408: '<blob>' },
        49409,
        'text_encoder',
      )
      await assert.rejects(
        load({ model }),
        coded('MODEL_UNSUPPORTED', /knows 49409 tokens, the other 49408/),
      )
    })

    /** The folder with further tokens, and token tables of that length, whose last rows are the learnt. */
    async function withLearnt(
      one: Record<string, string>,
      two: Record<string, string>,
      length: number,
      only?: string,
    ): Promise<string> {
      const model = path.join(folder, 'learnt')
      await rm(model, { recursive: true, force: true })
      await cp(await tinyXlDiffusers(), model, { recursive: true })
      for (const [part, tokens] of [
        ['tokenizer', one],
        ['tokenizer_2', two],
      ] as const) {
        const decoder = Object.fromEntries(
          Object.entries(tokens).map(([id, content]) => [id, { content }]),
        )
        const padding = part === 'tokenizer' ? '<|endoftext|>' : '!'
        const config = { pad_token: padding, added_tokens_decoder: decoder }
        await writeFile(path.join(model, part, 'tokenizer_config.json'), JSON.stringify(config))
      }
      for (const [part, width, seed] of [
        ['text_encoder', 64, 1],
        ['text_encoder_2', 96, 2],
      ] as const) {
        if (only !== undefined && part !== only) continue
        const file = path.join(model, part, 'model.safetensors')
        const { header, data } = readSafetensors(file)
        const name = 'text_model.embeddings.token_embedding.weight'
        const table = tensorValues({ header, data }, name)
        const longer = Float32Array.from([...Array.from(table), ...values(seed, width, 0.5)])
        const tensors: Tensors = { [name]: { shape: [length, width], values: longer } }
        for (const other of Object.keys(header)) {
          if (other === name) continue
          const { shape } = header[other]!
          tensors[other] = {
            shape,
            values: Float32Array.from(tensorValues({ header, data }, other)),
          }
        }
        await writeFile(file, fileOf(tensors))
      }
      return model
    }
  })

  // docs/studies/few-steps.md
  for (const [title, options] of Object.entries<Partial<MixRequest>>({
    LCM: { sampler: 'lcm', steps: 8, kMax: 0.625, kMin: 0.25 },
    TCD: { sampler: 'tcd', steps: 8, kMax: 0.625, kMin: 0.25 },
    'Hyper-SD': { sampler: 'ddim', spacing: 'trailing', steps: 8, kMax: 0.625, kMin: 0.25 },
    'Hyper-SD of one step': { sampler: 'tcd', gamma: 0.6, steps: 4, kMax: 0.75, kMin: 0 },
    Lightning: { sampler: 'euler', spacing: 'trailing', steps: 8, kMax: 0.625, kMin: 0.25 },
    Turbo: { sampler: 'euler_a', spacing: 'trailing', steps: 4, kMax: 0.75, kMin: 0 },
  })) {
    it(`the recipe for ${title} mixes, with half the calls of the UNet`, async () => {
      const recipe = { ...request, ...options, guidanceScale: 1 }
      const { content } = (await mixer.check(recipe)).steps
      assert.equal(content, Math.round((options.kMax ?? 0) * (options.steps ?? 0)))
      const mixes = await Promise.all([0.9, 0.5].map((nu) => mixer.mix({ ...recipe, nu })))
      assert.notDeepEqual(mixes[0]!.data, mixes[1]!.data) // nu has a say
      for (const { unetCalls } of mixes) assert.equal(unetCalls.unguided, unetCalls.full)
    })
  }
})

/** up down, in double precision. */
function product(
  up: Float32Array,
  down: Float32Array,
  out: number,
  rank: number,
  columns: number,
): Float64Array {
  const result = new Float64Array(out * columns)
  for (let o = 0; o < out; o++)
    for (let r = 0; r < rank; r++)
      for (let i = 0; i < columns; i++)
        result[o * columns + i]! += up[o * rank + r]! * down[r * columns + i]!
  return result
}

function fileOf(tensors: Tensors): Buffer {
  const header: Record<string, Entry> = {}
  const parts: Buffer[] = []
  let offset = 0
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, (offset += bytes.length)] }
    parts.push(bytes)
  }
  return safetensorsBytes(header, Buffer.concat(parts))
}

/** Numbers in -1..1, the same every time. */
function pseudorandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  }
}
