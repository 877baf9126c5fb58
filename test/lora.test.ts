/** LoRAs: the same pictures as with weights that were merged beforehand, here, in plain loops. */
import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { LoadOptions, Lora, MixRequest } from 'magicmix'

import { assertClose, difference } from './support/closeness.js'
import { diffusersName } from './support/diffusers.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'
import type { Entry, SafetensorsFile } from './support/safetensors.js'

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
      'if it is a LoHa': [{ [`${module}.hada_w1_a`]: zeros(2, 2) }, 'MODEL_UNSUPPORTED', /LoHa/],
      'if it is a LoKr': [{ [`${module}.lokr_w1`]: zeros(2, 2) }, 'MODEL_UNSUPPORTED', /LoKr/],
      'if it is a DoRA': [
        { ...pair(module), [`${module}.dora_scale`]: zeros(128) },
        'MODEL_UNSUPPORTED',
        /DoRA/,
      ],
      'if it is no LoRA': [{ weight: zeros(2, 2) }, 'MODEL_UNSUPPORTED', /'weight'.*no LoRA/],
      'with values that are no numbers': [
        pair(module, { shape: [2, 128, 1, 1], values: new Float32Array(256).fill(NaN) }),
        'MODEL_FORMAT',
        /not finite/,
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
