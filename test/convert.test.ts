/** GGUF, quantised weights, and `convert` between formats. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'
import type { LoadOptions, MixState } from 'magicmix'

import { difference } from './support/closeness.js'
import { ggufBytes, ggufTypes, q4_0, q8_0, value } from './support/gguf-writer.js'
import type { GgufTensor } from './support/gguf-writer.js'
import { tinyDiffusers, tinyHeads, tinyModel } from './support/models.js'
import { packageRoot } from './support/package-root.js'
import { runProgram } from './support/programs.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes, tensorValues } from './support/safetensors.js'
import { statesOf } from './support/small-mix.js'
import { quantisedTypes } from './support/stored-types.js'

const inheritedKernels = process.env.MAGICMIX_KERNELS

describe('converting', function () {
  this.timeout(120_000)
  let folder: string
  const inFolder = (name: string) => path.join(folder, name)
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-convert-'))))
  after(() => rm(folder, { recursive: true }))
  afterEach(() => {
    if (inheritedKernels === undefined) delete process.env.MAGICMIX_KERNELS
    else process.env.MAGICMIX_KERNELS = inheritedKernels
  })

  describe('without loss gives the very same states', () => {
    let expected: MixState[]
    before(async () => {
      expected = await statesOf(await tinyModel(), { config: tinyHeads, precision: 'f32' })
    })

    for (const [name, type] of [
      ['f16.gguf', 'f16'],
      ['f32.gguf', 'f32'],
      ['f16.safetensors', 'f16'],
      ['f32.safetensors', 'f32'],
    ] as const) {
      it(`to ${name}, which tells its configuration`, async () => {
        const output = inFolder(name)
        await convert({ input: await tinyModel(), output, type, config: tinyHeads })
        // no config is passed: the file has it
        assert.deepEqual(await statesOf(output, { precision: 'f32' }), expected)
      })
    }

    it('from a diffusers folder, with all that its config.json files say', async () => {
      const output = inFolder('folder.gguf')
      await convert({ input: await tinyDiffusers(), output })
      assert.deepEqual(await statesOf(output, { precision: 'f32' }), expected)
    })

    it('from the model in the box, with the colours of its latent', async () => {
      const output = inFolder('world.gguf')
      const box = await MagicMix.load({ threads: 1 })
      await convert({ input: box.model.path, output })
      await using converted = await MagicMix.load({ model: output, threads: 1 })
      assert.deepEqual(converted.model.sizes, box.model.sizes)
      assert.equal(converted.model.nativeSize, box.model.nativeSize)
      const request = { layout: { prompt: 'an orange' }, content: 'a clock', steps: 2, seed: 1 }
      const [ours, theirs] = await Promise.all([
        converted.mix({ ...request, previewEvery: 1 }),
        box.mix({ ...request, previewEvery: 1 }),
      ])
      await box.dispose()
      assert.deepEqual(ours.data, theirs.data)
    })
  })

  describe('with loss', () => {
    const table: string[] = []
    after(() =>
      console.log(['', 'type  MiB   bf16     f32      ggml     of it all', ...table].join('\n')),
    )

    for (const type of quantisedTypes) {
      it(`${type}: as the dequantised weights in the same engine`, async () => {
        const [quantised, plain] = [inFolder(`${type}.gguf`), inFolder(`${type}.safetensors`)]
        const conversion = await convert({
          ...{ input: await tinyModel(), output: quantised, type, config: tinyHeads },
        })
        assert.ok(conversion.tensors[type]! > 20, JSON.stringify(conversion.tensors))
        await convert({ input: quantised, output: plain, type: 'f32' })

        const unquantised = last(await statesOf(await tinyModel(), { config: tinyHeads }))
        const errors: number[] = []
        // 'auto' keeps the weights quantised; the plain file has the same precision in products
        for (const [kernels, precision, tolerance] of [
          [undefined, undefined, 1e-3],
          ['avx512', 'f32', 1e-3],
          ['off', 'f32', 0.15], // ggml rounds the other factor to eight bits
        ] as const) {
          if (kernels !== undefined) process.env.MAGICMIX_KERNELS = kernels
          if (kernels === 'avx512' && !(await kernelsWork()))
            process.env.MAGICMIX_KERNELS = 'portable'
          const actual = last(await statesOf(quantised))
          const expected = last(await statesOf(plain, precision ? { precision } : {}))
          const { relativeL2 } = difference(actual, expected)
          errors.push(relativeL2)
          assert.ok(relativeL2 <= tolerance, `${kernels} ${relativeL2}`)
          if (kernels === undefined) errors.push(difference(actual, unquantised).relativeL2)
        }
        const [bf16, all, f32, ggml] = errors.map((error) => error.toExponential(1))
        const mebibytes = (conversion.bytes / 2 ** 20).toFixed(1)
        table.push(`${type}  ${mebibytes}  ${bf16}  ${f32}  ${ggml}  ${all}`)
      })
    }

    it('takes less memory, and less on the disk', async () => {
      const model = await tinyModel()
      await convert({
        input: model,
        output: inFolder('small.gguf'),
        type: 'q4_0',
        config: tinyHeads,
      })
      await using half = await load(model, { config: tinyHeads })
      await using quarter = await load(inFolder('small.gguf'))
      assert.ok(quarter.model.memory.weights < 0.65 * half.model.memory.weights)
      assert.ok((await stat(inFolder('small.gguf'))).size < 0.6 * (await stat(model)).size)
    })
  })

  describe('GGUF files of others', () => {
    for (const [name, type, quantise] of [
      ['Q8_0', ggufTypes.Q8_0, q8_0],
      ['Q4_0', ggufTypes.Q4_0, q4_0],
    ] as const) {
      it(`with ${name} weights mean what the format says`, async () => {
        const { header, data } = readSafetensors(await tinyModel())
        const tensors: GgufTensor[] = []
        const dequantised = { header: structuredClone(header), data: Buffer.from(data) }
        const plain: Uint8Array[] = []
        let offset = 0
        for (const [tensor, { shape, data_offsets }] of Object.entries(header)) {
          const isMatrix = shape.length === 2 && shape[1]! % 32 === 0 && !tensor.includes('embed')
          const halves = Buffer.from(data.subarray(...data_offsets))
          const stored = isMatrix ? quantise(tensorValues({ header, data }, tensor)) : undefined
          const bytes = stored ? Buffer.from(stored.dequantised.buffer) : halves
          tensors.push({
            ...{ name: tensor, shape, type: stored ? type : ggufTypes.F16 },
            data: stored?.data ?? halves,
          })
          plain.push(bytes)
          const dtype = stored ? 'F32' : 'F16'
          dequantised.header[tensor] = {
            dtype,
            shape,
            data_offsets: [offset, offset + bytes.length],
          }
          offset += bytes.length
        }
        const alignment = 64
        await writeFile(
          inFolder('other.gguf'),
          ggufBytes({ version: 2, alignment, pairs: pairsOfOthers(alignment), tensors }),
        )
        const same = safetensorsBytes(dequantised.header, Buffer.concat(plain))
        await writeFile(inFolder('other.safetensors'), same)
        const options: Partial<LoadOptions> = { config: tinyHeads, precision: 'f32' }
        assert.deepEqual(
          await statesOf(inFolder('other.gguf'), options),
          await statesOf(inFolder('other.safetensors'), options),
        )

        const damaged = tensors.find((tensor) => tensor.type === type)!
        Buffer.from(damaged.data.buffer, damaged.data.byteOffset).writeUInt16LE(0x7e00) // NaN
        await writeFile(inFolder('other.gguf'), ggufBytes({ tensors }))
        await assert.rejects(
          load(inFolder('other.gguf'), options),
          coded('MODEL_FORMAT', new RegExp(`${damaged.name}.*not finite`)),
        )
      })
    }
  })

  describe('a file', () => {
    it('that exists is replaced only when asked', async () => {
      const output = inFolder('kept.gguf')
      await writeFile(output, 'precious')
      const input = await tinyModel()
      await assert.rejects(convert({ input, output }), coded('INVALID_ARGUMENT', /overwrite/))
      assert.equal(await readFile(output, 'utf8'), 'precious')
      const { bytes } = await convert({ input, output, overwrite: true })
      assert.equal((await stat(output)).size, bytes)
    })

    it('appears whole or not at all, when aborted', async () => {
      const abort = new AbortController()
      let seen = 0
      const converting = convert({
        input: await tinyModel(),
        output: inFolder('aborted.gguf'),
        type: 'q4_k',
        signal: abort.signal,
        onProgress: ({ step }) => {
          seen = step
          abort.abort(new Error('enough'))
        },
      })
      await assert.rejects(converting, /enough/)
      assert.ok(seen > 0)
      assert.deepEqual(
        (await readdir(folder)).filter((name) => name.startsWith('aborted')),
        [],
      )
    })

    it('can be made again of itself', async () => {
      const first = inFolder('again.gguf')
      await convert({ input: await tinyModel(), output: first, type: 'q5_k', config: tinyHeads })
      const bytes = await readFile(first)
      await convert({ input: first, output: first, type: 'q5_k', overwrite: true })
      assert.ok(bytes.equals(await readFile(first)))
    })

    const refusals: Record<string, [object, string, RegExp]> = {
      'of an unknown type': [{ type: 'q9' }, 'INVALID_ARGUMENT', /q8_0.*q9/],
      'of an unknown format': [{ output: 'a.bin' }, 'INVALID_ARGUMENT', /\.gguf or \.safetensors/],
      'in no folder': [{ output: 'none/a.gguf' }, 'FILE_UNWRITABLE', /No such file/],
      'of no model': [{ input: 'none.ckpt' }, 'MODEL_NOT_FOUND', /none\.ckpt/],
      'with quantised weights in safetensors': [
        { type: 'q8_0', output: 'q8.safetensors' },
        'INVALID_ARGUMENT',
        /gguf/,
      ],
      'with an option that does not exist': [{ tpye: 'f16' }, 'UNKNOWN_OPTION', /type/],
    }
    for (const [name, [options, code, message]] of Object.entries(refusals)) {
      it(`${name} is refused`, async () => {
        const given: object = { input: await tinyModel(), output: 'never.gguf', ...options }
        const output = 'output' in given ? inFolder(String(given.output)) : ''
        const converting = convert({ ...given, output } as Parameters<typeof convert>[0])
        await assert.rejects(converting, coded(code, message))
      })
    }

    it('whose values a type cannot hold is refused', async () => {
      const { header, data } = readSafetensors(await tinyModel('F32'))
      const name = 'model.diffusion_model.input_blocks.1.0.in_layers.2.weight'
      new DataView(data.buffer, data.byteOffset).setFloat32(
        header[name]!.data_offsets[0],
        1e6,
        true,
      )
      await writeFile(inFolder('large.safetensors'), safetensorsBytes(header, data))
      const input = inFolder('large.safetensors')
      await assert.rejects(
        convert({ input, output: inFolder('large.gguf') }),
        coded('MODEL_FORMAT', /in_layers\.2\.weight.*1000000.*bf16/),
      )
      await convert({ input, output: inFolder('large.gguf'), type: 'bf16' })
    })
  })

  it('leaves nothing behind when its process is killed', async function () {
    if (process.platform !== 'linux') return this.skip()
    const output = inFolder('killed.gguf')
    const ended = await runProgram(`
      const { convert } = require(${JSON.stringify(packageRoot)})
      const onProgress = ({ step }) => step > 3 && process.kill(process.pid, 'SIGKILL')
      const { model: input, config } = options
      convert({ input, output: ${JSON.stringify(output)}, config, onProgress })`)
    assert.equal(ended.signal, 'SIGKILL')
    const left = (await readdir(folder)).filter((name) => name.startsWith('killed'))
    assert.deepEqual(left, [])
  })
})

function load(model: string, options: Partial<LoadOptions> = {}): Promise<MagicMix> {
  return MagicMix.load({ model, device: 'cpu', threads: 1, ...options })
}

function last(states: MixState[]): Float32Array {
  return states.at(-1)!.latent
}

/** Keys that other programs write, of every type, to be passed over. */
function pairsOfOthers(alignment: number): [string, Buffer][] {
  return [
    ['general.name', value.text('something')],
    ['general.alignment', value.u32(alignment)],
    ['some.numbers', value.i32s([1, -2, 3])],
  ]
}

/** Whether the chosen kernels are for this machine. */
async function kernelsWork(): Promise<boolean> {
  try {
    await using mixer = await MagicMix.load({ threads: 1 })
    return mixer.model.threads > 0
  } catch {
    return false
  }
}
