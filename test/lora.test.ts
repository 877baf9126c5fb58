/**
 * LoRAs: the same pictures as PyTorch and PEFT make with them, and as with weights that were merged
 * beforehand, here, in plain loops.
 */
import assert from 'node:assert/strict'
import { copyFile, cp, mkdir, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { LoadOptions, Lora, MixRequest } from 'magicmix'

import { assertClose, difference } from './support/closeness.js'
import { diffusersName } from './support/diffusers.js'
import { fieldFile } from './support/field.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes, tensorValues } from './support/safetensors.js'
import type { Entry, SafetensorsFile } from './support/safetensors.js'
import { pickled, pickledTensor, torchArchive } from './support/torch-writer.js'

const unet = 'model.diffusion_model.'
const text = 'cond_stage_model.transformer.'
const request: MixRequest = {
  ...{ layout: fixture('landscape64.png'), content: 'a corgi', negativePrompt: 'blue' },
  ...{ width: 64, height: 64, steps: 4, seed: 1, trace: true },
}

describe('LoRA', function () {
  this.timeout(120_000)
  let folder: string
  let base: SafetensorsFile
  let targets: string[]
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-lora-'))
    base = readSafetensors(await tinyModel('F32'))
    targets = Object.keys(base.header).filter(
      (name) =>
        (name.startsWith(unet) || name.startsWith(text)) &&
        base.header[name]!.shape.length > 1 &&
        !name.includes('embedding'),
    )
  })
  after(() => rm(folder, { recursive: true }))

  async function load(options: Partial<LoadOptions> = {}): Promise<MagicMix> {
    return MagicMix.load({
      ...{ model: await tinyModel('F32'), config: tinyHeads, precision: 'f32', threads: 1 },
      ...options,
    })
  }

  /** The last latent of a mix. */
  async function latentOf(mixer: MagicMix, loras?: readonly Lora[]): Promise<Float32Array> {
    return (await mixer.mix({ ...request, loras })).trace.at(-1)!.latent
  }

  /** The last latent with weights that were changed before they were loaded. */
  async function latentWithMerged(changes: Change[]): Promise<Float32Array> {
    const data = Buffer.from(base.data)
    for (const { weight, delta, strength } of changes) {
      const [begin] = base.header[weight]!.data_offsets
      delta.forEach((value, i) => {
        const at = begin + 4 * i
        data.writeFloatLE(data.readFloatLE(at) + strength * value, at)
      })
    }
    const file = path.join(folder, 'merged.safetensors')
    await writeFile(file, safetensorsBytes(base.header, data))
    await using mixer = await load({ model: file })
    return await latentOf(mixer) // not only the promise: the mixer has to live as long
  }

  async function write(name: string, tensors: Tensors): Promise<string> {
    const file = path.join(folder, `${name}.safetensors`)
    await writeFile(file, fileOf(tensors))
    return file
  }

  /** Random factors of `weight`, about a tenth of its size when multiplied. */
  function factors(weight: string, rank: number, seed: number): Factors {
    const [out, inner, ...kernel] = base.header[weight]!.shape as [number, number, ...number[]]
    const next = pseudorandom(seed + weight.length * 7919 + out)
    const area = kernel.reduce((a, b) => a * b, 1)
    const values = (count: number, size: number) =>
      Float32Array.from({ length: count }, () => size * next())
    const size = 0.3 / Math.sqrt(inner * area)
    return {
      ...{ weight, rank, out, inner, kernel, area },
      down: values(rank * inner * area, 1),
      up: values(out * rank, size),
    }
  }

  const namings: Record<string, (weight: string) => [down: string, up: string, alpha?: string]> = {
    'of kohya': (weight) => {
      const module = diffusersName(weight)
        .replace(/\.weight$/, '')
        .replaceAll('.', '_')
      const name = `${weight.startsWith(unet) ? 'lora_unet' : 'lora_te'}_${module}`
      return [`${name}.lora_down.weight`, `${name}.lora_up.weight`, `${name}.alpha`]
    },
    'of kohya, with the original blocks': (weight) => {
      const isUnet = weight.startsWith(unet)
      const module = weight.slice((isUnet ? unet : text).length).replace(/\.weight$/, '')
      const name = `${isUnet ? 'lora_unet' : 'lora_te'}_${module.replaceAll('.', '_')}`
      return [`${name}.lora_down.weight`, `${name}.lora_up.weight`, `${name}.alpha`]
    },
    'of PEFT': (weight) => {
      const module = diffusersName(weight).replace(/\.weight$/, '')
      const name = `${weight.startsWith(unet) ? 'unet' : 'text_encoder'}.${module}`
      return [`${name}.lora_A.weight`, `${name}.lora_B.weight`]
    },
    'of diffusers, in between': (weight) => {
      const module = diffusersName(weight).replace(/\.weight$/, '')
      const name = `${weight.startsWith(unet) ? 'unet' : 'text_encoder'}.${module}`
      const part = weight.startsWith(unet) ? 'lora' : 'lora_linear_layer'
      return [`${name}.${part}.down.weight`, `${name}.${part}.up.weight`]
    },
  }
  for (const [naming, names] of Object.entries(namings)) {
    it(`with the names ${naming}, on every weight`, async () => {
      const rank = 2
      const tensors: Tensors = {}
      const changes: Change[] = []
      for (const weight of targets) {
        const made = factors(weight, rank, 1)
        const [down, up, alpha] = names(weight)
        Object.assign(tensors, storedFactors(made, down, up))
        if (alpha !== undefined) tensors[alpha] = { shape: [], values: Float32Array.of(1) }
        // alpha / rank is 1 where no alpha is told
        const strength = 0.7 * (alpha === undefined ? 1 : 1 / rank)
        changes.push({ weight, delta: product(made), strength })
      }
      const file = await write('all', tensors)
      await using mixer = await load()
      const plain = await latentOf(mixer)
      const actual = await latentOf(mixer, [{ file, strength: 0.7 }])
      assertClose('the last latent', actual, await latentWithMerged(changes), 2e-5)
      assert.ok(difference(actual, plain).relativeL2 > 0.01)
      assert.deepEqual(await latentOf(mixer), plain)
    })
  }

  it('with the names of the first files of diffusers', async () => {
    const weight = `${unet}input_blocks.1.1.transformer_blocks.0.attn1.to_out.0.weight`
    const other = `${unet}middle_block.1.transformer_blocks.0.attn2.to_v.weight`
    const [first, second] = [factors(weight, 4, 5), factors(other, 3, 6)]
    const file = await write('first', {
      ...storedFactors(
        first,
        'down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight',
        'down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight',
      ),
      ...storedFactors(
        second,
        'mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora.down.weight',
        'mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora.up.weight',
      ),
    })
    await using mixer = await load({ loras: [{ file }] })
    const expected = await latentWithMerged([
      { weight, delta: product(first), strength: 1 },
      { weight: other, delta: product(second), strength: 1 },
    ])
    assertClose('the last latent', await latentOf(mixer), expected, 2e-5)
  })

  it('with the alpha that diffusers notes in the metadata', async () => {
    const weights = targets.filter((name) => /attn[12]\.to_q\.weight$/.test(name)).slice(0, 2)
    const made = weights.map((weight) => factors(weight, 4, 7))
    const modules = weights.map((weight) => diffusersName(weight).replace(/\.weight$/, ''))
    const tensors: Tensors = {}
    for (const [i, module] of modules.entries()) {
      const name = `unet.${module}`
      Object.assign(
        tensors,
        storedFactors(made[i]!, `${name}.lora_A.weight`, `${name}.lora_B.weight`),
      )
    }
    const notes = {
      ...{ 'unet.r': 4, 'unet.lora_alpha': 8 },
      'unet.alpha_pattern': { [modules[1]!]: 1 },
    }
    const file = path.join(folder, 'noted.safetensors')
    await writeFile(file, fileOf(tensors, { lora_adapter_metadata: JSON.stringify(notes) }))
    await using mixer = await load({ loras: [{ file }] })
    const expected = await latentWithMerged([
      { weight: weights[0]!, delta: product(made[0]!), strength: 8 / 4 },
      { weight: weights[1]!, delta: product(made[1]!), strength: 1 / 4 },
    ])
    assertClose('the last latent', await latentOf(mixer), expected, 2e-5)
  })

  it('with a whole number for alpha', async () => {
    const weight = targets.find((name) => name.endsWith('attn1.to_q.weight'))!
    const made = factors(weight, 4, 8)
    const [down, up] = kohya(weight)
    const alpha = down.replace('lora_down.weight', 'alpha')
    const eightBytes = { shape: [], values: new Float32Array(2) }
    const file = await write('whole', { ...storedFactors(made, down, up), [alpha]: eightBytes })
    const { header, data } = readSafetensors(file)
    data.writeBigInt64LE(2n, header[alpha]!.data_offsets[0])
    header[alpha]!.dtype = 'I64'
    await writeFile(file, safetensorsBytes(header, data))
    await using mixer = await load({ loras: [{ file }] })
    const expected = await latentWithMerged([{ weight, delta: product(made), strength: 2 / 4 }])
    assertClose('the last latent', await latentOf(mixer), expected, 2e-5)
  })

  it('with a kernel of its own between the two matrices (LoCon)', async () => {
    const weight = `${unet}input_blocks.1.0.in_layers.2.weight`
    const name = 'lora_unet_down_blocks_0_resnets_0_conv1'
    const [rank, inner, out, area] = [3, 32, 32, 9]
    const next = pseudorandom(9)
    const values = (count: number) => Float32Array.from({ length: count }, () => next() / 3)
    const [down, mid, up] = [values(rank * inner), values(rank * rank * area), values(out * rank)]
    const file = await write('mid', {
      [`${name}.lora_down.weight`]: { shape: [rank, inner, 1, 1], values: down },
      [`${name}.lora_mid.weight`]: { shape: [rank, rank, 3, 3], values: mid },
      [`${name}.lora_up.weight`]: { shape: [out, rank, 1, 1], values: up },
    })
    const delta = new Float64Array(out * inner * area)
    for (let o = 0; o < out; o++)
      for (let r = 0; r < rank; r++)
        for (let s = 0; s < rank; s++)
          for (let i = 0; i < inner; i++)
            for (let at = 0; at < area; at++)
              delta[(o * inner + i) * area + at]! +=
                up[o * rank + r]! * mid[(r * rank + s) * area + at]! * down[s * inner + i]!
    await using mixer = await load()
    const expected = await latentWithMerged([{ weight, delta, strength: 1 }])
    assertClose('the last latent', await latentOf(mixer, [{ file }]), expected, 2e-5)
  })

  describe('of other methods', () => {
    const conv = 'model.diffusion_model.input_blocks.1.0.in_layers.2.weight'
    const name = 'lora_unet_down_blocks_0_resnets_0_conv1'
    const [out, inner, area] = [32, 32, 9]
    const tensor = (seed: number, ...shape: number[]) => {
      const next = pseudorandom(seed)
      const count = shape.reduce((a, b) => a * b, 1)
      return { shape, values: Float32Array.from({ length: count }, () => next() / 2) }
    }
    /** sum over i and j of a[i, o] t[i, j, at] b[j, c] */
    const tucker = (a: Float32Array, t: Float32Array, b: Float32Array, rank: number, to: Shape) => {
      const result = new Float64Array(to.out * to.inner * to.area)
      for (let o = 0; o < to.out; o++)
        for (let c = 0; c < to.inner; c++)
          for (let at = 0; at < to.area; at++)
            for (let i = 0; i < rank; i++)
              for (let j = 0; j < rank; j++)
                result[(o * to.inner + c) * to.area + at]! +=
                  a[i * to.out + o]! * t[(i * rank + j) * to.area + at]! * b[j * to.inner + c]!
      return result
    }

    it('LoHa of a convolution, with kernels of its own', async () => {
      const rank = 3
      const parts = {
        ...{ hada_t1: tensor(1, rank, rank, 3, 3), hada_w1_a: tensor(2, rank, out) },
        ...{ hada_w1_b: tensor(3, rank, inner), hada_t2: tensor(4, rank, rank, 3, 3) },
        ...{ hada_w2_a: tensor(5, rank, out), hada_w2_b: tensor(6, rank, inner) },
      }
      const file = await write('loha', {
        ...named(name, parts),
        [`${name}.alpha`]: { shape: [], values: Float32Array.of(1.5) },
      })
      const to = { out, inner, area }
      const { hada_t1, hada_w1_a, hada_w1_b, hada_t2, hada_w2_a, hada_w2_b } = parts
      const first = tucker(hada_w1_a.values, hada_t1.values, hada_w1_b.values, rank, to)
      const second = tucker(hada_w2_a.values, hada_t2.values, hada_w2_b.values, rank, to)
      const delta = first.map((value, i) => value * second[i]!)
      await using mixer = await load()
      const expected = await latentWithMerged([{ weight: conv, delta, strength: 1.5 / rank }])
      assert.ok(difference(await latentOf(mixer), expected).relativeL2 > 1e-3)
      assertClose('the last latent', await latentOf(mixer, [{ file }]), expected, 2e-5)
    })

    it('LoHa of a convolution, its matrices as long as the kernels', async () => {
      const rank = 2
      const parts = {
        ...{ hada_w1_a: tensor(2, out, rank), hada_w1_b: tensor(3, rank, inner * area) },
        ...{ hada_w2_a: tensor(5, out, rank), hada_w2_b: tensor(6, rank, inner * area) },
      }
      const file = await write('loha-long', named(name, parts))
      const times = (up: Float32Array, down: Float32Array) =>
        product({ ...{ weight: conv, rank, out, inner, kernel: [3, 3], area, up, down } })
      const first = times(parts.hada_w1_a.values, parts.hada_w1_b.values)
      const second = times(parts.hada_w2_a.values, parts.hada_w2_b.values)
      const delta = first.map((value, i) => value * second[i]!)
      await using mixer = await load()
      const expected = await latentWithMerged([{ weight: conv, delta, strength: 1 }])
      assert.ok(difference(await latentOf(mixer), expected).relativeL2 > 1e-3)
      assertClose('the last latent', await latentOf(mixer, [{ file }]), expected, 2e-5)
    })

    it('LoKr of a convolution, both factors products, one with kernels', async () => {
      const [rank, wide, deep] = [2, 4, 8] // 32 = 4 * 8
      const parts = {
        ...{ lokr_w1_a: tensor(1, wide, rank), lokr_w1_b: tensor(2, rank, wide) },
        ...{ lokr_t2: tensor(3, rank, rank, 3, 3), lokr_w2_a: tensor(4, rank, deep) },
        ...{ lokr_w2_b: tensor(5, rank, deep) },
      }
      const file = await write('lokr', {
        ...named(name, parts),
        [`${name}.alpha`]: { shape: [1], values: Float32Array.of(3) },
      })
      const left = product({
        ...{ weight: conv, rank, out: wide, inner: wide, kernel: [], area: 1 },
        ...{ up: parts.lokr_w1_a.values, down: parts.lokr_w1_b.values },
      })
      const { lokr_w2_a, lokr_t2, lokr_w2_b } = parts
      const to = { out: deep, inner: deep, area }
      const right = tucker(lokr_w2_a.values, lokr_t2.values, lokr_w2_b.values, rank, to)
      const delta = kronecker(left, { out: wide, inner: wide, area: 1 }, right, to)
      await using mixer = await load()
      const expected = await latentWithMerged([{ weight: conv, delta, strength: 3 / rank }])
      assert.ok(difference(await latentOf(mixer), expected).relativeL2 > 1e-3)
      assertClose('the last latent', await latentOf(mixer, [{ file }]), expected, 2e-5)
    })

    it('DoRA of a convolution, half as strong, beside another LoRA in either order', async () => {
      const made = factors(conv, 4, 1)
      const other = factors(conv, 2, 2)
      const lengths = tensor(7, out, 1, 1, 1)
      lengths.values.forEach((value, i) => (lengths.values[i] = 1 + value))
      const dora = await write('dora', {
        ...storedFactors(made, `${name}.lora_down.weight`, `${name}.lora_up.weight`),
        [`${name}.dora_scale`]: lengths,
      })
      const plain = await write('beside', storedFactors(other, ...kohya(conv)))
      const weights = Float64Array.from(tensorValues(base, conv))
      const change = product(made)
      const columns = inner * area
      const delta = new Float64Array(weights.length)
      for (let o = 0; o < out; o++) {
        const row = weights.slice(o * columns, (o + 1) * columns)
        const adapted = row.map((value, i) => value + change[o * columns + i]!)
        const factor = lengths.values[o]! / Math.hypot(...adapted)
        adapted.forEach((value, i) => (delta[o * columns + i] = factor * value - row[i]!))
      }
      const expected = await latentWithMerged([
        { weight: conv, delta, strength: 0.5 },
        { weight: conv, delta: product(other), strength: 2 },
      ])
      await using mixer = await load()
      const loras = [
        { file: dora, strength: 0.5 },
        { file: plain, strength: 2 },
      ]
      for (const list of [loras, [...loras].reverse()]) {
        assertClose('the last latent', await latentOf(mixer, list), expected, 2e-5)
      }
    })

    it('whole changes of weight, bias and norm, and nothing is left of them', async () => {
      const resnet = 'lora_unet_down_blocks_0_resnets_0'
      const [weight, bias, norm] = [tensor(1, 32, 32, 3, 3), tensor(2, 32), tensor(3, 32)]
      const file = await write('whole-changes', {
        ...{ [`${resnet}_conv1.diff`]: weight, [`${resnet}_conv1.diff_b`]: bias },
        ...{ [`${resnet}_norm2.w_norm`]: norm, [`${resnet}_norm2.b_norm`]: bias },
      })
      const block = 'model.diffusion_model.input_blocks.1.0'
      const change = (at: string, { values }: { values: Float32Array }) => ({
        ...{ weight: `${block}.${at}`, delta: Float64Array.from(values), strength: 0.5 },
      })
      const expected = await latentWithMerged([
        change('in_layers.2.weight', weight),
        change('in_layers.2.bias', bias),
        change('out_layers.0.weight', norm),
        change('out_layers.0.bias', bias),
      ])
      await using mixer = await load()
      const before = await latentOf(mixer)
      assertClose('it', await latentOf(mixer, [{ file, strength: 0.5 }]), expected, 2e-5)
      assert.deepEqual(await latentOf(mixer, []), before)
    })
  })

  describe('of PEFT', () => {
    const weight = `${unet}output_blocks.11.1.transformer_blocks.0.attn1.to_v.weight`
    const module = 'up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_v'
    const made = () => factors(weight, 4, 3)
    const tensors = () =>
      storedFactors(
        made(),
        `base_model.model.${module}.lora_A.weight`,
        `base_model.model.${module}.lora_B.weight`,
      )

    let adapters = 0
    async function adapter(config: object | string, parts: Tensors = tensors()): Promise<string> {
      const home = path.join(folder, `adapter-${adapters++}`)
      await mkdir(home)
      await writeFile(path.join(home, 'adapter_model.safetensors'), fileOf(parts))
      const text = typeof config === 'string' ? config : JSON.stringify(config)
      await writeFile(path.join(home, 'adapter_config.json'), text)
      return home
    }
    const noted = async (notes: object, name: string) => {
      const file = path.join(folder, `${name}.safetensors`)
      const parts = Object.entries(tensors()).map(([key, value]) => [
        ...[key.replace('base_model.model.', 'unet.'), value],
      ])
      const metadata = { lora_adapter_metadata: JSON.stringify(notes) }
      await writeFile(file, fileOf(Object.fromEntries(parts) as Tensors, metadata))
      return file
    }

    const scales: Record<string, [config: object, scale: number]> = {
      'by its alpha': [{ r: 4, lora_alpha: 6 }, 6 / 4],
      'by the alpha that PEFT takes if none is told': [{ r: 4 }, 8 / 4],
      stabilised: [{ r: 4, lora_alpha: 6, use_rslora: true }, 6 / 2],
      'by the pattern of an end of the name': [
        { r: 4, lora_alpha: 6, alpha_pattern: { v: 9, 'attn2.to_v': 8, 'attn1.to_v': 3 } },
        3 / 4,
      ],
      'by the pattern of the whole name': [
        { r: 8, rank_pattern: { [`^${module}$`]: 4 }, alpha_pattern: { '^to_v': 1 } },
        8 / 4,
      ],
      'by a pattern with dots that are told apart': [
        { r: 4, alpha_pattern: { 'attn1\\.to_v': 2 } },
        2 / 4,
      ],
      'with all that is harmless': [
        {
          ...{
            r: 4,
            lora_alpha: 4,
            peft_type: 'LORA',
            bias: 'none',
            init_lora_weights: 'gaussian',
          },
          ...{ target_modules: 'to_v', lora_dropout: 0.5, modules_to_save: [], unheard_of: null },
        },
        1,
      ],
    }
    for (const [name, [config, scale]] of Object.entries(scales)) {
      it(`is as strong as configured, ${name}`, async () => {
        const expected = await latentWithMerged([
          { weight, delta: product(made()), strength: scale },
        ])
        const notes = Object.entries(config).map(([key, value]) => [
          `unet.${key}`,
          value as unknown,
        ])
        await using mixer = await load()
        assert.ok(difference(await latentOf(mixer), expected).relativeL2 > 1e-3)
        for (const file of [
          await adapter(config),
          await noted(Object.fromEntries(notes) as object, 'noted-scale'),
        ]) {
          assertClose('the last latent', await latentOf(mixer, [{ file }]), expected, 2e-5)
        }
      })
    }

    it('LoKr is scaled by alpha over the rank though its factors are whole', async () => {
      const next = pseudorandom(4)
      const values = (count: number) => Float32Array.from({ length: count }, next)
      const [left, right] = [values(16), values(8 * 8)]
      const name = `base_model.model.${module}`
      const file = await adapter(
        { peft_type: 'LOKR', r: 16, alpha: 8, decompose_both: false },
        {
          [`${name}.lokr_w1`]: { shape: [4, 4], values: left },
          [`${name}.lokr_w2`]: { shape: [8, 8], values: right },
        },
      )
      const delta = kronecker(
        ...[left, { out: 4, inner: 4, area: 1 }, right, { out: 8, inner: 8, area: 1 }],
      )
      await using mixer = await load()
      const expected = await latentWithMerged([{ weight, delta, strength: 8 / 16 }])
      assertClose('the last latent', await latentOf(mixer, [{ file }]), expected, 2e-5)
    })

    it('is taken up again when its configuration was replaced', async () => {
      const home = await adapter({ r: 4, lora_alpha: 6 })
      await using mixer = await load({ loras: [{ file: home }] })
      const first = await latentOf(mixer)
      const config = path.join(home, 'adapter_config.json')
      await writeFile(config, JSON.stringify({ r: 4, lora_alpha: 1 }))
      await utimes(config, new Date(1e12), new Date(1e12))
      assert.ok(difference(await latentOf(mixer), first).relativeL2 > 1e-3)
    })

    const refused: Record<string, [config: object | string, code: string, message: RegExp]> = {
      'a key that is not known': [
        { r: 4, sideways: 3 },
        'MODEL_UNSUPPORTED',
        /'sideways'.*not known/,
      ],
      'whole modules beside it': [
        { r: 4, modules_to_save: ['conv_in'] },
        'MODEL_UNSUPPORTED',
        /'modules_to_save'.*whole modules/,
      ],
      'weights that are transposed': [
        { fan_in_fan_out: true },
        'MODEL_UNSUPPORTED',
        /fan_in_fan_out/,
      ],
      'base weights that were changed': [
        { r: 4, init_lora_weights: 'pissa_niter_4' },
        'MODEL_UNSUPPORTED',
        /init_lora_weights.*pissa_niter_4/,
      ],
      biases: [{ r: 4, bias: 'lora_only' }, 'MODEL_UNSUPPORTED', /'bias'.*lora_only/],
      'biases of the factors': [{ r: 4, lora_bias: true }, 'MODEL_UNSUPPORTED', /lora_bias/],
      'another method': [{ peft_type: 'IA3' }, 'MODEL_UNSUPPORTED', /peft_type.*IA3/],
      'an expression for a pattern': [
        { r: 4, alpha_pattern: { '.*to_v': 3 } },
        'MODEL_UNSUPPORTED',
        /pattern '\.\*to_v' in 'alpha_pattern'/,
      ],
      'an expression that would take for ever': [
        { r: 4, rank_pattern: { '(a|a)*b': 3 } },
        'MODEL_UNSUPPORTED',
        /rank_pattern/,
      ],
      'another rank': [{ r: 2, lora_alpha: 2 }, 'MODEL_FORMAT', /rank 2.*to_v' have rank 4/],
      'no rank': [{ r: 0 }, 'MODEL_FORMAT', /'r': 0/],
      'an alpha that is text': [{ r: 4, lora_alpha: '4' }, 'MODEL_FORMAT', /'lora_alpha': "4"/],
      'an alpha that is no number': ['{"r": 4, "lora_alpha": NaN}', 'MODEL_FORMAT', /lora_alpha/],
      'an alpha beyond all floats': [{ r: 4, lora_alpha: 1e300 }, 'MODEL_FORMAT', /alpha.*large/],
      'DoRA without lengths': [{ r: 4, use_dora: true }, 'MODEL_FORMAT', /use_dora true.*to_v/],
      'tensors of another method': [{ peft_type: 'LOHA', r: 4 }, 'MODEL_FORMAT', /LOHA.*LORA/],
      'no object': ['[]', 'MODEL_FORMAT', /must be an object/],
      'no JSON': ['{', 'MODEL_FORMAT', /not valid JSON/],
    }
    for (const [name, [config, code, message]] of Object.entries(refused)) {
      it(`is refused if its configuration says: ${name}`, async () => {
        const loras = [{ file: await adapter(config) }]
        await assert.rejects(load({ loras }), coded(code, message))
      })
    }

    it('is refused for what its metadata say of other parts', async () => {
      const loras = [{ file: await noted({ 'text_encoder_2.r': 4 }, 'two') }]
      await assert.rejects(load({ loras }), coded('MODEL_UNSUPPORTED', /text_encoder_2\.r/))
    })
  })

  describe('in a folder', () => {
    it('is found by the names of diffusers and PEFT', async () => {
      const source = fieldFile('files/f02-peft-alpha')
      await using mixer = await load()
      const byFile = [{ file: path.join(source, 'adapter_model.safetensors') }]
      const expected = await latentOf(mixer, byFile)
      assert.deepEqual(await latentOf(mixer, [{ file: source }]), expected)
    })

    it('has to be one alone', async () => {
      const home = path.join(folder, 'two')
      await cp(fieldFile('files/f02-peft-alpha'), home, { recursive: true })
      const other = path.join(home, 'pytorch_lora_weights.safetensors')
      await copyFile(fieldFile('files/f10-diffusers-names.safetensors'), other)
      const loras = [{ file: home }]
      const both = /pytorch_lora_weights\.safetensors' and 'adapter_model\.safetensors/
      await assert.rejects(load({ loras }), coded('MODEL_UNSUPPORTED', both))
    })

    it('has to be there', async () => {
      const loras = [{ file: path.join(folder) }]
      await assert.rejects(load({ loras }), coded('MODEL_NOT_FOUND', /adapter_model\.bin/))
    })
  })

  describe('with an embedding in it', () => {
    const bundled = fieldFile('files/f15-bundled-embedding.safetensors')
    const prompt = 'a corgi with redcap'
    const knownTo = ({ model }: MagicMix) =>
      model.embeddings.map(({ placeholder, tokens }) => [placeholder, tokens])
    const latentFor = async (mixer: MagicMix, content: string, loras?: Lora[]) =>
      (await mixer.mix({ ...request, content, loras })).trace.at(-1)!.latent

    it('makes its name a placeholder for its vectors', async () => {
      const vectors = tensorValues(readSafetensors(bundled), 'bundle_emb.redcap.clip_l')
      const alone = await write('alone', {
        emb_params: { shape: [2, 64], values: Float32Array.from(vectors) },
      })
      await using mixer = await load({ loras: [{ file: bundled }] })
      assert.deepEqual(knownTo(mixer), [['redcap', 2]])
      const learnt = await latentFor(mixer, prompt)
      await using other = await load({ loras: [{ file: bundled }], embeddings: { other: alone } })
      assert.deepEqual(await latentFor(other, prompt.replace('redcap', 'other')), learnt)
      await using embedding = await load({ embeddings: { redcap: bundled } })
      assert.deepEqual(await latentFor(embedding, prompt, [{ file: bundled }]), learnt)
    })

    it('has to be called by its name as an embedding', async () => {
      const embeddings = { hat: bundled }
      await assert.rejects(load({ embeddings }), coded('MODEL_UNSUPPORTED', /bundle_emb\.redcap/))
    })

    it('gives way to an embedding of that name', async () => {
      const other = await write('other-embedding', {
        redcap: { shape: [1, 64], values: new Float32Array(64).fill(0.1) },
      })
      const options = { loras: [{ file: bundled }], embeddings: { redcap: other } }
      await using mixer = await load(options)
      assert.deepEqual(knownTo(mixer), [['redcap', 1]])
    })

    it('is refused for a mix if the embedding was not loaded', async () => {
      await using mixer = await load()
      await assert.rejects(
        latentOf(mixer, [{ file: bundled }]),
        coded('MODEL_UNSUPPORTED', /embedding 'redcap'.*MagicMix\.load/),
      )
    })

    it('is refused beside another that has one of that name', async () => {
      const copy = path.join(folder, 'copy.safetensors')
      await copyFile(bundled, copy)
      const loras = [{ file: bundled }, { file: copy }]
      await assert.rejects(load({ loras }), coded('MODEL_UNSUPPORTED', /both bring.*'redcap'/))
      await using mixer = await load({ loras, embeddings: { redcap: bundled } })
      assert.equal(mixer.model.embeddings.length, 1)
    })
  })

  describe('several', () => {
    let one: string, two: string
    let changes: (first: number, second: number) => Change[]
    before(async () => {
      const [a, b] = targets.filter((name) => name.endsWith('attn1.to_q.weight')) as [
        string,
        string,
      ]
      const [first, second, third] = [factors(a, 4, 1), factors(a, 2, 2), factors(b, 4, 3)]
      one = await write('one', {
        ...storedFactors(first, ...kohya(a)),
        ...storedFactors(third, ...kohya(b)),
      })
      two = await write('two', storedFactors(second, ...kohya(a)))
      changes = (x, y) => [
        { weight: a, delta: product(first), strength: x },
        { weight: b, delta: product(third), strength: x },
        { weight: a, delta: product(second), strength: y },
      ]
    })

    it('add up, each with its strength', async () => {
      await using mixer = await load({ loras: [{ file: one, strength: 1.5 }] })
      const both = [
        { file: one, strength: 0.5 },
        { file: two, strength: -2 },
      ]
      const expected = await latentWithMerged(changes(0.5, -2))
      assertClose('both', await latentOf(mixer, both), expected, 2e-5)
      assertClose(
        'the one that was loaded',
        await latentOf(mixer),
        await latentWithMerged(changes(1.5, 0)),
        2e-5,
      )
    })

    it('leave nothing behind, in any precision', async () => {
      for (const precision of ['f32', 'f16', 'bf16', 'q8_0'] as const) {
        await using mixer = await load({ precision })
        const plain = await latentOf(mixer)
        const changed = await latentOf(mixer, [{ file: one, strength: 3 }])
        assert.notDeepEqual(changed, plain)
        assert.deepEqual(await latentOf(mixer, [{ file: one, strength: 0 }]), plain)
        assert.deepEqual(await latentOf(mixer, [{ file: one, strength: 3 }]), changed)
        assert.deepEqual(await latentOf(mixer, []), plain)
      }
    })

    it('are each request’s own in the queue', async () => {
      await using mixer = await load()
      const lists: (Lora[] | undefined)[] = [undefined, [{ file: one }], [{ file: two }], []]
      const alone: Float32Array[] = []
      for (const loras of lists) alone.push(await latentOf(mixer, loras))
      assert.deepEqual(await Promise.all(lists.map((loras) => latentOf(mixer, loras))), alone)
      assert.deepEqual(alone[3], alone[0])
    })

    it('are put right after a mix that was aborted while they were merged', async () => {
      await using mixer = await load()
      const plain = await latentOf(mixer)
      for (let i = 0; i < 10; i++) {
        const controller = new AbortController()
        const mixing = mixer.mix({ ...request, loras: [{ file: one }], signal: controller.signal })
        setTimeout(() => controller.abort(new Error('enough')), i)
        await mixing.catch(() => undefined)
        assert.deepEqual(await latentOf(mixer), plain)
      }
    })

    it('stay what they were after a change that was aborted', async () => {
      const model = path.join(folder, 'aborted.safetensors')
      await copyFile(await tinyModel('F32'), model)
      const [then, now] = [new Date(1e12), new Date(2e12)]
      await utimes(model, then, then)
      const everywhere: Tensors = {}
      for (const weight of targets) {
        const [down, up] = namings['of kohya']!(weight)
        Object.assign(everywhere, storedFactors(factors(weight, 4, 9), down, up))
      }
      const loras = [{ file: await write('everywhere', everywhere) }]
      await using mixer = await load({ model, loras: [{ file: one }] })
      const before = await latentOf(mixer)
      for (let i = 0; i < 12; i++) {
        const mixing = mixer.mix({ ...request, loras, signal: AbortSignal.timeout(2 * i + 1) })
        await mixing.catch(() => undefined)
        // Whatever the change has touched is right again, without reading the model's file.
        await utimes(model, now, now)
        assert.deepEqual(await latentOf(mixer), before)
        await utimes(model, then, then)
      }
    })

    it('are refused before anything is touched once the model’s file has changed', async () => {
      const model = path.join(folder, 'model.safetensors')
      await copyFile(await tinyModel('F32'), model)
      await using mixer = await load({ model, loras: [{ file: one }] })
      const before = await latentOf(mixer)
      await utimes(model, new Date(), new Date())
      await assert.rejects(
        latentOf(mixer, []),
        coded('MODEL_FORMAT', /model.safetensors' has changed since/),
      )
      assert.deepEqual(await latentOf(mixer), before)
      await rm(model)
      await assert.rejects(latentOf(mixer, []), coded('MODEL_NOT_FOUND', /model.safetensors.*gone/))
      assert.deepEqual(await latentOf(mixer), before)
    })

    it('are taken up again when their file was replaced', async () => {
      const file = path.join(folder, 'replaced.safetensors')
      await copyFile(one, file)
      await using mixer = await load({ loras: [{ file }] })
      const first = await latentOf(mixer)
      await copyFile(two, `${file}.new`)
      await rename(`${file}.new`, file)
      assert.deepEqual(await latentOf(mixer), await latentOf(mixer, [{ file: two }]))
      assert.deepEqual(await latentOf(mixer, [{ file: one }]), first)
    })

    it('are told in the request, and in the recipe without folders', async () => {
      await using mixer = await load({ loras: [{ file: one, strength: 0.5 }, { file: two }] })
      const mix = await mixer.mix(request)
      assert.deepEqual(mix.request.loras, [
        { file: one, strength: 0.5 },
        { file: two, strength: 1 },
      ])
      const again = await mixer.mix({ ...mix.request, loras: mix.request.loras })
      assert.deepEqual(again.data, mix.data)
      assert.deepEqual((mix.toJSON() as { request: { loras: unknown } }).request.loras, [
        { file: 'one.safetensors', strength: 0.5 },
        { file: 'two.safetensors', strength: 1 },
      ])
    })
  })

  describe('is refused', () => {
    const module = 'lora_unet_mid_block_attentions_0_proj_in'
    const zeros = (...shape: number[]) => ({
      ...{ shape, values: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
    })
    const pair = (name: string, down = zeros(2, 128, 1, 1), up = zeros(128, 2, 1, 1)) => ({
      [`${name}.lora_down.weight`]: down,
      [`${name}.lora_up.weight`]: up,
    })
    const cases: Record<string, [Tensors, code: string, message: RegExp]> = {
      'for a wider network': [
        pair(module, zeros(2, 1280, 1, 1), zeros(1280, 2, 1, 1)),
        'MODEL_UNSUPPORTED',
        /another network.*\[1280, 2, 1, 1\].*\[128, 128/,
      ],
      'with matrices of two ranks': [
        pair(module, zeros(3, 128, 1, 1)),
        'MODEL_UNSUPPORTED',
        /do not fit/,
      ],
      'for Stable Diffusion XL': [
        pair('lora_te2_text_model_encoder_layers_0_mlp_fc1'),
        'MODEL_UNSUPPORTED',
        /another network.*lora_te2_/,
      ],
      'for a module that is not there': [
        { ...pair(module), ...pair('lora_unet_down_blocks_7_resnets_0_conv1') },
        'MODEL_UNSUPPORTED',
        /down_blocks_7/,
      ],
      'without one of the matrices': [
        { [`${module}.lora_up.weight`]: zeros(128, 2, 1, 1) },
        'MODEL_FORMAT',
        /only one of the two/,
      ],
      'with a half of a LoHa': [
        { [`${module}.hada_w1_a`]: zeros(128, 2), [`${module}.hada_w1_b`]: zeros(2, 128) },
        'MODEL_FORMAT',
        /hada_w2_a' is missing/,
      ],
      'with a LoHa of other shapes': [
        {
          ...{ [`${module}.hada_w1_a`]: zeros(128, 2), [`${module}.hada_w1_b`]: zeros(2, 128) },
          ...{ [`${module}.hada_w2_a`]: zeros(128, 2), [`${module}.hada_w2_b`]: zeros(2, 64) },
        },
        'MODEL_UNSUPPORTED',
        /hada_w2_b' \[2, 64\] do not fit/,
      ],
      'with one factor of a LoKr': [
        { [`${module}.lokr_w1`]: zeros(2, 2) },
        'MODEL_FORMAT',
        /lokr_w2_a' is missing/,
      ],
      'with factors of a LoKr that do not divide the weight': [
        { [`${module}.lokr_w1`]: zeros(3, 2), [`${module}.lokr_w2`]: zeros(40, 64) },
        'MODEL_UNSUPPORTED',
        /lokr_w2' \[40, 64\] do not fit/,
      ],
      'with a factor of a LoKr and its factors': [
        {
          ...{ [`${module}.lokr_w1`]: zeros(2, 2), [`${module}.lokr_w1_a`]: zeros(2, 1) },
          ...{ [`${module}.lokr_w1_b`]: zeros(1, 2), [`${module}.lokr_w2`]: zeros(64, 64) },
        },
        'MODEL_FORMAT',
        /lokr_w1_a' beside/,
      ],
      'by two methods at once': [
        {
          ...pair(module),
          ...{ [`${module}.lokr_w1`]: zeros(2, 2), [`${module}.lokr_w2`]: zeros(64, 64) },
        },
        'MODEL_FORMAT',
        /two methods/,
      ],
      'with lengths of another weight': [
        { ...pair(module), [`${module}.dora_scale`]: zeros(64, 1) },
        'MODEL_UNSUPPORTED',
        /dora_scale' \[64, 1\] do not fit/,
      ],
      'with lengths and nothing else': [
        { [`${module}.dora_scale`]: zeros(128, 1) },
        'MODEL_FORMAT',
        /lengths \(DoRA\)/,
      ],
      'with a whole change of another shape': [
        { [`${module}.diff`]: zeros(128, 64, 1, 1) },
        'MODEL_UNSUPPORTED',
        /diff' \[128, 64, 1, 1\] does not fit/,
      ],
      'with a bias that is not there': [
        { 'unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.diff_b': zeros(128) },
        'MODEL_UNSUPPORTED',
        /bias that this model has not/,
      ],
      'with two names for a module': [
        { ...pair(module), ...pair('unet.middle_block.1.proj_in') },
        'MODEL_FORMAT',
        /same module under two names.*proj_in' and 'unet/,
      ],
      'with a layer of the text encoder that is no number': [
        {
          ...pair(module),
          ...pair('lora_te_text_model_encoder_layers_00_mlp_fc1', zeros(2, 64), zeros(256, 2)),
        },
        'MODEL_UNSUPPORTED',
        /no 'lora_te_text_model_encoder_layers_00/,
      ],
      'with an alpha alone': [{ [`${module}.alpha`]: zeros(1) }, 'MODEL_FORMAT', /but an alpha/],
      'if it is an OFT': [{ [`${module}.oft_blocks`]: zeros(2) }, 'MODEL_UNSUPPORTED', /OFT/],
      'if it is an IA3': [{ [`${module}.on_input`]: zeros(1) }, 'MODEL_UNSUPPORTED', /IA3/],
      'if it is a GLoRA': [{ [`${module}.a1.weight`]: zeros(2) }, 'MODEL_UNSUPPORTED', /GLoRA/],
      'with biases of its own': [
        { ...pair(module), [`${module}.lora_B.bias`]: zeros(128) },
        'MODEL_UNSUPPORTED',
        /lora_bias/,
      ],
      'for lacking layers of the text encoder only': [
        pair('lora_te_text_model_encoder_layers_7_mlp_fc1', zeros(2, 64), zeros(256, 2)),
        'MODEL_UNSUPPORTED',
        /lacks, and nothing else/,
      ],
      'for layers of another text encoder': [
        {
          ...pair(module),
          ...pair('lora_te_text_model_encoder_layers_7_mlp_fc1', zeros(2, 768), zeros(3072, 2)),
        },
        'MODEL_UNSUPPORTED',
        /\[3072, 2\].*do not fit/,
      ],
      'with an embedding for Stable Diffusion XL': [
        { ...pair(module), 'bundle_emb.cat.clip_g': zeros(1, 1280) },
        'MODEL_UNSUPPORTED',
        /bundle_emb\.cat\.clip_g'.*Stable Diffusion XL/,
      ],
      'with an embedding of another kind': [
        { ...pair(module), 'bundle_emb.cat.t5xxl': zeros(1, 64) },
        'MODEL_UNSUPPORTED',
        /bundle_emb\.cat\.t5xxl/,
      ],
      'if it is no LoRA': [{ weight: zeros(2, 2) }, 'MODEL_UNSUPPORTED', /'weight'.*no LoRA/],
      'with values that are no numbers': [
        pair(module, { shape: [2, 128, 1, 1], values: new Float32Array(256).fill(NaN) }),
        'MODEL_FORMAT',
        /not finite/,
      ],
      'with an alpha that is no number': [
        { ...pair(module), [`${module}.alpha`]: { shape: [], values: Float32Array.of(NaN) } },
        'MODEL_FORMAT',
        /alpha.*not finite/,
      ],
      'with a LoKr of values that are no numbers': [
        {
          [`${module}.lokr_w1`]: { shape: [2, 2], values: new Float32Array(4).fill(Infinity) },
          [`${module}.lokr_w2`]: zeros(64, 64),
        },
        'MODEL_FORMAT',
        /lokr_w1' .*not finite/,
      ],
      'with an alpha of no values': [
        { ...pair(module), [`${module}.alpha`]: zeros(0) },
        'MODEL_FORMAT',
        /alpha/,
      ],
    }
    for (const [name, [tensors, code, message]] of Object.entries(cases)) {
      it(name, async () => {
        const file = await write('refused', tensors)
        await using mixer = await load()
        const plain = await latentOf(mixer)
        await assert.rejects(latentOf(mixer, [{ file }]), coded(code, message))
        await assert.rejects(load({ loras: [{ file }] }), coded(code, message))
        assert.deepEqual(await latentOf(mixer), plain)
      })
    }

    it('as a list for another network', async () => {
      const views = [
        [320, 4],
        [4, 320],
      ].map((shape, i) => ({ storage: 'FloatStorage', key: String(i), elements: 1280, shape }))
      const pickle = pickled.whole(pickled.list(...views.map((view) => pickledTensor(view))))
      const values = Buffer.alloc(4 * 1280)
      const file = path.join(folder, 'list.pt')
      await writeFile(file, torchArchive(pickle, { 0: values, 1: values }))
      const message = /list of 1 pairs.*has 128 linear layers/
      await assert.rejects(load({ loras: [{ file }] }), coded('MODEL_UNSUPPORTED', message))
    })

    it('if there is no such file', async () => {
      const options = { loras: [{ file: path.join(folder, 'none.safetensors') }] }
      await assert.rejects(load(options), coded('MODEL_NOT_FOUND', /none\.safetensors/))
    })

    const wrong: Record<string, [unknown, RegExp]> = {
      'that is no list': ['a.safetensors', /list/],
      'that is a list of names': [['a.safetensors'], /loras\[0\]/],
      'without a file': [[{ strength: 1 }], /loras\[0\]\.file/],
      'that is too strong': [[{ file: 'a', strength: 11 }], /loras\[0\]\.strength/],
      'of no strength': [[{ file: 'a', strength: NaN }], /loras\[0\]\.strength/],
    }
    for (const [name, [loras, message]] of Object.entries(wrong)) {
      it(name, async () => {
        const options = { loras } as Partial<LoadOptions>
        await assert.rejects(load(options), coded('INVALID_ARGUMENT', message))
      })
    }
  })
})

interface Factors {
  weight: string
  rank: number
  out: number
  inner: number
  kernel: number[]
  area: number
  down: Float32Array
  up: Float32Array
}

interface Change {
  weight: string
  delta: Float64Array
  strength: number
}

type Tensors = Record<string, { shape: number[]; values: Float32Array }>

function storedFactors(made: Factors, down: string, up: string): Tensors {
  const { rank, inner, out, kernel } = made
  const ones = kernel.map(() => 1)
  return {
    [down]: { shape: [rank, inner, ...kernel], values: made.down },
    [up]: { shape: [out, rank, ...ones], values: made.up },
  }
}

interface Shape {
  out: number
  inner: number
  area: number
}

function named(module: string, parts: Tensors): Tensors {
  return Object.fromEntries(
    Object.entries(parts).map(([part, tensor]) => [`${module}.${part}`, tensor]),
  )
}

/** Of a matrix and a kernel. */
function kronecker(
  left: ArrayLike<number>,
  { out: rows, inner: columns }: Shape,
  right: ArrayLike<number>,
  { out, inner, area }: Shape,
): Float64Array {
  const result = new Float64Array(rows * out * columns * inner * area)
  let at = 0
  for (let r = 0; r < rows; r++)
    for (let o = 0; o < out; o++)
      for (let c = 0; c < columns; c++)
        for (let i = 0; i < inner * area; i++)
          result[at++] = left[r * columns + c]! * right[o * inner * area + i]!
  return result
}

/** up down, in double precision. */
function product({ rank, out, inner, area, down, up }: Factors): Float64Array {
  const columns = inner * area
  const result = new Float64Array(out * columns)
  for (let o = 0; o < out; o++)
    for (let r = 0; r < rank; r++)
      for (let i = 0; i < columns; i++)
        result[o * columns + i]! += up[o * rank + r]! * down[r * columns + i]!
  return result
}

function kohya(weight: string): [down: string, up: string] {
  const name = `lora_unet_${diffusersName(weight)
    .replace(/\.weight$/, '')
    .replaceAll('.', '_')}`
  return [`${name}.lora_down.weight`, `${name}.lora_up.weight`]
}

function fileOf(tensors: Tensors, metadata?: Record<string, string>): Buffer {
  const header: Record<string, Entry> = {}
  const parts: Buffer[] = []
  let offset = 0
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + bytes.length] }
    offset += bytes.length
    parts.push(bytes)
  }
  return safetensorsBytes(
    metadata ? { __metadata__: metadata, ...header } : header,
    Buffer.concat(parts),
  )
}

/** Numbers in -1..1, the same every time. */
function pseudorandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  }
}
