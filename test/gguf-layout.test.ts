/** How `convert` lays out GGUF files: what other programs look at in them, and `compatible`. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { convert } from 'magicmix'
import type { ConvertOptions } from 'magicmix'

import { difference } from './support/closeness.js'
import { readGguf } from './support/gguf-reader.js'
import type { GgufDescription } from './support/gguf-reader.js'
import { ggufTypes } from './support/gguf-writer.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { coded } from './support/refusals.js'
import { readSafetensors } from './support/safetensors.js'
import { statesOf } from './support/small-mix.js'
import { quantisedTypes, storedTypes } from './support/stored-types.js'

const unquantised: number[] = [ggufTypes.F32, ggufTypes.F16, ggufTypes.BF16]
const conv = 'model.diffusion_model.input_blocks.1.0.in_layers.2.weight'
const pointwise = 'model.diffusion_model.input_blocks.1.1.proj_in.weight'
const linear = 'model.diffusion_model.input_blocks.1.1.transformer_blocks.0.ff.net.2.weight'

describe('the layout of GGUF files', function () {
  this.timeout(120_000)
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-layout-'))))
  after(() => rm(folder, { recursive: true }))

  async function converted(options: Partial<ConvertOptions>): Promise<string> {
    const { type = 'f16', compatible = false } = options
    const output = path.join(folder, `${type}-${compatible}.gguf`)
    const input = await tinyModel()
    await convert({ input, output, config: tinyHeads, overwrite: true, ...options })
    return output
  }

  it('names the architecture as ComfyUI-GGUF does, which refuses others', async () => {
    const { pairs } = readGguf(await converted({}))
    assert.equal(pairs['general.architecture'], 'sd1')
    assert.equal(pairs['general.alignment'], 32)
    assert.equal(typeof pairs['general.quantization_version'], 'number')
  })

  for (const type of storedTypes) {
    const compatible = quantisedTypes.includes(type)
    it(`${type}${compatible ? ' and compatible' : ''}: every tensor has its true shape`, async () => {
      const file = readGguf(await converted({ type, compatible }))
      assert.deepEqual(shapesOf(file), await tinyShapes())
      assert.deepEqual(keysOfShapes(file), [])
      for (const [name, tensor] of Object.entries(file.tensors)) {
        const matrix = tensor.shape.length === 2
        assert.ok(matrix || unquantised.includes(tensor.type), `${name} is of type ${tensor.type}`)
      }
      if (!compatible) return
      assert.ok(!unquantised.includes(file.tensors[linear]!.type))
      assert.equal(file.tensors[conv]!.type, ggufTypes.F16)
      assert.equal(file.tensors[pointwise]!.type, ggufTypes.F16)
    })
  }

  it('stores quantised convolutions flat, with their shape beside them', async () => {
    const file = readGguf(await converted({ type: 'q8_0' }))
    const shapes = await tinyShapes()
    for (const name of [conv, pointwise]) {
      const [out, ...inputs] = shapes[name]!
      assert.equal(file.tensors[name]!.type, ggufTypes.Q8_0)
      assert.deepEqual(file.tensors[name]!.shape, [out, inputs.reduce((a, b) => a * b)])
      assert.deepEqual(file.pairs[`comfy.gguf.orig_shape.${name}`], shapes[name])
    }
  })

  it('of a bf16 model leaves its convolutions in bf16', async () => {
    const input = await tinyModel('BF16')
    const file = readGguf(await converted({ input, type: 'q8_0', compatible: true }))
    assert.equal(file.tensors[conv]!.type, ggufTypes.BF16)
  })

  it('loads as it would without, and no further from the model it is of', async () => {
    const states = async (model: string) =>
      (await statesOf(model, { config: tinyHeads, precision: 'f32' })).at(-1)!.latent
    const compact = await converted({ type: 'q8_0' })
    const common = await converted({ type: 'q8_0', compatible: true })
    const expected = await states(await tinyModel())
    const far = difference(await states(compact), expected).relativeL2
    const near = difference(await states(common), expected).relativeL2
    assert.ok(near <= 1.1 * far && far < 0.05, `compact ${far}, compatible ${near}`)
    assert.ok((await stat(common)).size > (await stat(compact)).size)
  })

  it('can be made of a file that has the other, in both directions', async () => {
    const compact = await converted({ type: 'q8_0' })
    const common = await converted({ type: 'q8_0', compatible: true })
    const output = path.join(folder, 'again.gguf')
    await convert({ input: compact, output, type: 'q8_0', compatible: true })
    assert.deepEqual(readGguf(output).tensors, readGguf(common).tensors)
    await convert({ input: common, output, type: 'q8_0', overwrite: true })
    assert.deepEqual(readGguf(output).tensors, readGguf(compact).tensors)
  })

  it('is no matter of safetensors', async () => {
    const output = path.join(folder, 'a.safetensors')
    await assert.rejects(
      convert({ input: await tinyModel(), output, compatible: true }),
      coded('INVALID_ARGUMENT', /`compatible`.*\.gguf.*a\.safetensors/),
    )
  })
})

async function tinyShapes(): Promise<Record<string, number[]>> {
  const { header } = readSafetensors(await tinyModel())
  return Object.fromEntries(Object.entries(header).map(([name, { shape }]) => [name, shape]))
}

function shapesOf(file: GgufDescription): Record<string, number[]> {
  return Object.fromEntries(Object.entries(file.tensors).map(([name, { shape }]) => [name, shape]))
}

function keysOfShapes({ pairs }: GgufDescription): string[] {
  return Object.keys(pairs).filter((key) => key.startsWith('comfy.'))
}
