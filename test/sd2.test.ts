/** Stable Diffusion 2.x: the same networks in other sizes, another text encoder, v-prediction. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'
import type { LoadOptions } from 'magicmix'

import { describeGolden } from './support/golden.js'
import { tiny2Heads, tiny2Model, tinyDiffusers } from './support/models.js'
import { native } from './support/native.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'
import type { SafetensorsFile } from './support/safetensors.js'

const config = (prediction: 'epsilon' | 'v_prediction') => ({
  ...tiny2Heads,
  unet: { ...tiny2Heads.unet, prediction },
})

function load(options: LoadOptions): Promise<MagicMix> {
  return MagicMix.load({ device: 'cpu', threads: 1, ...options })
}

describeGolden('tiny2', async (precision) =>
  load({ model: await tinyDiffusers({ sd2: true }), precision }),
)
describeGolden(
  'tiny2',
  async (precision) =>
    load({ model: await tiny2Model(), config: config('v_prediction'), precision }),
  ['f32'],
  ' as a single file',
)
describeGolden(
  'tiny2-epsilon',
  async (precision) => load({ model: await tiny2Model(), config: config('epsilon'), precision }),
  ['f32'],
  ' as a single file',
)

describe('Stable Diffusion 2.x, converted', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))))
  after(() => rm(folder, { recursive: true }))

  for (const format of ['gguf', 'safetensors']) {
    describeGolden(
      'tiny2',
      async (precision) => {
        const output = path.join(folder, `tiny2.${format}`)
        await convert({ input: await tiny2Model(), output, config: config('v_prediction') })
        return load({ model: output, precision }) // with nothing said: the file tells
      },
      ['f32'],
      ` as ${format}`,
    )
  }
})

describe('Stable Diffusion 2.x', () => {
  let folder: string
  let intact: SafetensorsFile
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))
    intact = readSafetensors(await tiny2Model())
  })
  after(() => rm(folder, { recursive: true }))

  async function write({ header, data }: SafetensorsFile): Promise<string> {
    const file = path.join(folder, 'changed.safetensors')
    await writeFile(file, safetensorsBytes(header, data))
    return file
  }

  /** What a model without any word on it is found to predict. */
  async function found(model: string): Promise<[prediction: string, nativeSize: number]> {
    await using mixer = await load({ model, config: tiny2Heads, precision: 'f32' })
    return [mixer.model.prediction, mixer.model.nativeSize]
  }

  describe('without a word on what the UNet predicts', () => {
    it('is taken for epsilon and 512 if it returns its input', async () => {
      assert.deepEqual(await found(await write(identityUnet(intact))), ['epsilon', 512])
    })

    it('is taken for v-prediction and 768 if it does not', async () => {
      assert.deepEqual(await found(await tiny2Model()), ['v_prediction', 768])
    })
  })

  it('tells family, prediction and size', async () => {
    await using mixer = await load({ model: await tinyDiffusers({ sd2: true }) })
    const { family, prediction, nativeSize, sizes } = mixer.model
    assert.deepEqual([family, prediction, nativeSize], ['sd2', 'v_prediction', 768])
    assert.deepEqual(sizes.unet.heads, [2, 4, 8, 8])
    assert.equal(sizes.textEncoder.layers, 2)
  })

  it('predicts what the caller says, whatever the files say', async () => {
    const model = await tinyDiffusers({ sd2: true })
    await using mixer = await load({ model, config: { unet: { prediction: 'epsilon' } } })
    assert.equal(mixer.model.prediction, 'epsilon')
  })

  it('does not use the last layer of the text encoder, and says so', async () => {
    const { ignored, model } = await native.inspect(await tiny2Model(), {
      unet: { headWidth: 16 },
      textEncoder: { heads: 2 },
    }).done
    assert.equal(model?.sizes.textEncoder.layers, 2)
    assert.equal(model.sizes.textEncoder.padding, 0)
    const last = /^cond_stage_model\.model\.(transformer\.resblocks\.2\.|text_projection$)/
    assert.deepEqual(
      ignored.filter((name) => !last.test(name)),
      [],
    )
  })

  it('is refused if a fused projection cannot be divided by three', async () => {
    const name = 'cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight'
    const header = structuredClone(intact.header)
    const [begin] = header[name]!.data_offsets
    header[name] = { dtype: 'F16', shape: [191, 64], data_offsets: [begin, begin + 2 * 191 * 64] }
    await assert.rejects(load({ model: await write({ ...intact, header }), config: tiny2Heads }), {
      code: 'MODEL_FORMAT',
      message: /resblocks\.0\.attn\.in_proj_weight.*divided by that number/,
    })
  })
})

/**
 * A UNet that gives back its input, normalised: the last output block passes on the first input
 * block's output, which is x and -x in eight channels, and silu(x) - silu(-x) is x.
 */
function identityUnet({ header, data }: SafetensorsFile): SafetensorsFile {
  const changed = Buffer.from(data)
  const root = 'model.diffusion_model.'
  const fill = (name: string, valueAt: (indices: number[]) => number) => {
    const { shape, data_offsets } = header[root + name]!
    const bits: Record<number, number> = { 0: 0, 1: 0x3c00, [-1]: 0xbc00 }
    for (let i = 0; 2 * i < data_offsets[1] - data_offsets[0]; i++) {
      let rest = i
      const indices = [...shape]
        .reverse()
        .map((side) => [rest % side, (rest = Math.floor(rest / side))][0]!)
        .reverse()
      changed.writeUInt16LE(bits[valueAt(indices)]!, data_offsets[0] + 2 * i)
    }
  }
  const atCentre = ([, , y, x]: number[]) => y === 1 && x === 1
  const signed = (many: number, few: number) => (many === few ? 1 : many === few + 4 ? -1 : 0)
  fill('input_blocks.0.0.weight', (at) => (atCentre(at) ? signed(at[0]!, at[1]!) : 0))
  fill('input_blocks.0.0.bias', () => 0)
  const last = 'output_blocks.11.'
  for (const name of ['0.out_layers.3', '0.skip_connection', '1.proj_out']) {
    // of what is concatenated, the first input block's output comes second
    const passes = name === '0.skip_connection'
    fill(`${last}${name}.weight`, ([to, from]) => (passes && from === to! + 32 ? 1 : 0))
    fill(`${last}${name}.bias`, () => 0)
  }
  fill('out.0.weight', () => 1)
  fill('out.0.bias', () => 0)
  fill('out.2.weight', (at) => (atCentre(at) ? signed(at[1]!, at[0]!) : 0))
  fill('out.2.bias', () => 0)
  return { header, data: changed }
}
