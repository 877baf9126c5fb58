/** `convert` at values that a type just can, or just cannot, hold. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { convert } from 'magicmix'
import type { StoredType } from 'magicmix'

import { tinyHeads, tinyModel } from './support/models.js'
import { coded } from './support/refusals.js'
import { headerOf, readSafetensors, safetensorsBytes, tensorValues } from './support/safetensors.js'
import { statesOf } from './support/small-mix.js'
import { quantisedTypes, storedTypes } from './support/stored-types.js'

const name = 'model.diffusion_model.input_blocks.1.0.in_layers.2.weight'
const width = 256 // a block of any type
const largestHalf = 65504

describe('converting the largest values', function () {
  this.timeout(120_000)
  let folder: string
  const inFolder = (file: string) => path.join(folder, file)
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-limits-'))))
  after(() => rm(folder, { recursive: true }))

  /** A file with one matrix, a row of it given by the function of a row. */
  async function matrixOf(rows: ((column: number) => number)[]): Promise<string> {
    const values = Float32Array.from({ length: rows.length * width }, (_, i) =>
      rows[Math.floor(i / width)]!(i % width),
    )
    const { header } = headerOf([{ name, shape: [rows.length, width] }], 'F32')
    const file = inFolder('matrix.safetensors')
    await writeFile(file, safetensorsBytes(header, Buffer.from(values.buffer)))
    return file
  }

  async function to(type: StoredType, input: string, output = `${type}.gguf`): Promise<string> {
    await convert({ input, output: inFolder(output), type, overwrite: true })
    return inFolder(output)
  }

  async function valuesOf(file: string): Promise<number[]> {
    const plain = inFolder('plain.safetensors')
    await convert({ input: file, output: plain, type: 'f32', overwrite: true })
    return Array.from(tensorValues(readSafetensors(plain), name))
  }

  /** Rows that reach `most`: full of it, of both signs, one of it among small and among many. */
  const extremes = (most: number) => [
    () => most,
    (column: number) => (column % 2 ? most : -most),
    (column: number) => (column % 32 === 5 ? most : Math.sin(column)),
    (column: number) => (column % 32 === 5 ? -most : most * Math.sin(column)),
    (column: number) => most * (0.99 + 0.01 * Math.sin(column)),
    (column: number) => (column === 0 ? most : 0.9 * most * Math.cos(column)),
  ]

  for (const first of storedTypes) {
    it(`what f16 can hold it can hold by way of ${first} and any other`, async () => {
      const matrix = await matrixOf(extremes(largestHalf))
      const input = await to(first, matrix, 'first.gguf')
      for (const second of storedTypes) {
        const output = await to(second, input)
        const largest = Math.max(...(await valuesOf(output)).map(Math.abs))
        assert.ok(largest < 65520 && largest > 50000, `${first} to ${second}: ${largest}`)
        await to('f16', output, 'as-f16.gguf') // which would refuse what it cannot hold
      }
    })

    it(`what q8_0 can hold it can hold by way of ${first}, unless that refuses it`, async () => {
      const matrix = await matrixOf(extremes(127 * largestHalf))
      const made = await to(first, matrix).catch((error: unknown) => {
        coded('MODEL_FORMAT', new RegExp(`in_layers.*, which ${first} cannot hold`))(error)
        return undefined
      })
      if (!made) return
      assert.ok((await valuesOf(made)).every(Number.isFinite))
      await to('q8_0', made, 'as-q8_0.gguf')
    })
  }

  it('rounds them to the nearest that fits', async () => {
    const matrix = await matrixOf([() => largestHalf])
    const largest = async (type: StoredType) =>
      Math.max(...(await valuesOf(await to(type, matrix))))
    assert.equal(await largest('f32'), 65504)
    assert.equal(await largest('f16'), 65504)
    assert.equal(await largest('bf16'), 65280)
    assert.ok(65504 - (await largest('q8_0')) < 100)
  })

  it('takes what f16 rounds down, and refuses what it rounds to infinity', async () => {
    assert.equal(
      Math.max(...(await valuesOf(await to('f16', await matrixOf([() => 65519]))))),
      65504,
    )
    await assert.rejects(
      to('f16', await matrixOf([() => 1, () => -65520])),
      coded('MODEL_FORMAT', /in_layers\.2\.weight.*-65520.*f16 cannot hold.*bf16 or f32/),
    )
  })

  it('refuses what bf16 rounds to infinity', async () => {
    await assert.rejects(
      to('bf16', await matrixOf([() => 3.4e38])),
      coded('MODEL_FORMAT', /bf16 cannot hold; choose f32/),
    )
    assert.ok((await valuesOf(await to('bf16', await matrixOf([() => 3.38e38])))).every(isFinite))
  })

  for (const type of quantisedTypes) {
    it(`${type} refuses what none of its blocks holds`, async () => {
      await assert.rejects(
        to(type, await matrixOf([() => 1, (column) => (column === 7 ? 1e30 : 1)])),
        coded('MODEL_FORMAT', new RegExp(`in_layers.*${type} cannot hold; choose bf16 or f32`)),
      )
    })
  }

  it('and what is no number', async () => {
    const matrix = await matrixOf([() => NaN])
    for (const type of ['f16', 'bf16', 'q8_0', 'q4_k'] as const) {
      await assert.rejects(to(type, matrix), coded('MODEL_FORMAT', /in_layers.*nan/i))
    }
  })

  it('a model with 65504 in it mixes in f16 after bf16', async () => {
    const { header, data } = readSafetensors(await tinyModel())
    data.writeUInt16LE(0x7bff, header[name]!.data_offsets[0]) // 65504
    const input = inFolder('large.safetensors')
    await writeFile(input, safetensorsBytes(header, data))
    await convert({ input, output: inFolder('large.gguf'), type: 'bf16', config: tinyHeads })
    for (const precision of ['f16', 'bf16', 'f32', 'q8_0'] as const) {
      const states = await statesOf(inFolder('large.gguf'), { precision })
      assert.ok(states.at(-1)!.latent.every(Number.isFinite), precision)
    }
  })

  it('a model with a value beyond f16 is refused in f16, not loaded with infinity', async () => {
    const { header, data } = readSafetensors(await tinyModel('BF16'))
    data.writeUInt16LE(0x4780, header[name]!.data_offsets[0]) // 65536
    const model = inFolder('beyond.safetensors')
    await writeFile(model, safetensorsBytes(header, data))
    const load = (precision: 'f16' | 'bf16') => statesOf(model, { precision, config: tinyHeads })
    await assert.rejects(load('f16'), coded('MODEL_FORMAT', /in_layers.*f16 cannot hold.*bf16/))
    assert.ok((await load('bf16')).at(-1)!.latent.every(Number.isFinite))
  })
})
