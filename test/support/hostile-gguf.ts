/** GGUF files that lie, by what is wrong with them: the bytes, and what the error has to say. */
import { type GgufFile, ggufBytes, ggufTypes, string, u32, u64, value } from './gguf-writer.js'

const weight = {
  name: 'model.diffusion_model.out.2.bias',
  shape: [4],
  type: ggufTypes.F32,
  data: new Uint8Array(16),
}
const other = { ...weight, name: 'model.diffusion_model.out.0.bias' }
const matrix = (type: number, shape: number[], bytes: number) => ({
  ...{ name: 'model.diffusion_model.out.2.weight', type, shape },
  data: new Uint8Array(bytes),
})

const intact: GgufFile = {
  pairs: [['general.name', value.text('small')]],
  tensors: [weight, other],
}
const bytes = (change: GgufFile) => ggufBytes({ ...intact, ...change })
const pair = (key: string, forged: Uint8Array) => bytes({ pairs: [[key, forged]] })

export const hostileGguf: Record<string, [file: Buffer, code: string, message: RegExp]> = {
  'only the magic number': [Buffer.from('GGUF'), 'MODEL_FORMAT', /ends within the version/],
  'of version 1': [bytes({ version: 1 }), 'MODEL_UNSUPPORTED', /version 1/],
  'big-endian': [bytes({ version: 3 << 24 }), 'MODEL_UNSUPPORTED', /big-endian/],
  'with 2^63 tensors': [bytes({ tensorCount: 1n << 63n }), 'MODEL_FORMAT', /tensors/],
  'with 2^40 keys': [bytes({ pairCount: 1n << 40n }), 'MODEL_FORMAT', /keys/],
  'with more tensors than described': [bytes({ tensorCount: 9n }), 'MODEL_FORMAT', /GGUF file/],
  'with fewer tensors than described': [bytes({ tensorCount: 1n }), 'MODEL_FORMAT', /./],
  'with a key of 2^62 bytes': [
    Buffer.concat([Buffer.from('GGUF'), u32(3), u64(0), u64(1), u64(1n << 62n)]),
    'MODEL_FORMAT',
    /a key of \d+ bytes/,
  ],
  'with a name that is not UTF-8': [
    Buffer.concat([
      ...[Buffer.from('GGUF'), u32(3), u64(1), u64(0), u64(2), Buffer.from([0xc3, 0x28])],
      ...[u32(1), u64(1), u32(0), u64(0), Buffer.alloc(64)],
    ]),
    'MODEL_FORMAT',
    /not UTF-8/,
  ],
  'with a text of 2^64 - 1 bytes': [
    pair('general.name', Buffer.concat([u32(8), u64((1n << 64n) - 1n)])),
    'MODEL_FORMAT',
    /ends within/,
  ],
  'with a value of an unknown type': [pair('x', u32(99)), 'MODEL_FORMAT', /unknown type 99/],
  'with an array of 2^61 numbers': [
    pair('x', Buffer.concat([u32(9), u32(10), u64(1n << 61n)])),
    'MODEL_FORMAT',
    /elements/,
  ],
  'with an array of 2^61 texts': [
    pair('x', Buffer.concat([u32(9), u32(8), u64(1n << 61n)])),
    'MODEL_FORMAT',
    /ends within/,
  ],
  'with arrays of arrays': [
    pair('x', Buffer.concat([u32(9), u32(9), u64(1), u32(9), u64(1)])),
    'MODEL_FORMAT',
    /arrays of arrays/,
  ],
  'aligned to 0': [pair('general.alignment', value.u32(0)), 'MODEL_FORMAT', /alignment 0/],
  'aligned to 3': [pair('general.alignment', value.u32(3)), 'MODEL_FORMAT', /alignment 3/],
  'aligned to a text': [pair('general.alignment', value.text('32')), 'MODEL_FORMAT', /no u32/],
  'with a configuration that is no JSON': [
    pair('magicmix.config', value.text('{')),
    'MODEL_FORMAT',
    /magicmix\.config/,
  ],
  'with a configuration of a million heads': [
    pair('magicmix.config', value.text('{"unet":{"attention_head_dim":1000000}}')),
    'MODEL_FORMAT',
    /attention_head_dim/,
  ],
  'with the same name twice': [bytes({ tensors: [weight, weight] }), 'MODEL_FORMAT', /two tensors/],
  'with tensors that overlap': [
    bytes({ tensors: [weight, { ...other, offset: 0 }] }),
    'MODEL_FORMAT',
    /overlap/,
  ],
  'with an offset beyond the end': [
    bytes({ tensors: [{ ...weight, offset: 1 << 20 }] }),
    'MODEL_FORMAT',
    /too short/,
  ],
  'with an offset of 2^64 - 32': [
    bytes({ tensors: [{ ...weight, offset: (1n << 64n) - 32n }] }),
    'MODEL_FORMAT',
    /too short/,
  ],
  'with an offset between alignments': [
    bytes({ tensors: [{ ...weight, offset: 4 }] }),
    'MODEL_FORMAT',
    /multiple of 32/,
  ],
  'with a shape larger than its values': [
    bytes({ tensors: [{ ...weight, shape: [1 << 20] }] }),
    'MODEL_FORMAT',
    /too short/,
  ],
  'with a shape whose product overflows': [
    bytes({ tensors: [matrix(ggufTypes.F32, [2 ** 40, 2 ** 40, 2 ** 40], 64)] }),
    'MODEL_FORMAT',
    /overflows/,
  ],
  'with five dimensions': [
    bytes({ tensors: [matrix(ggufTypes.F32, [1, 1, 1, 1, 4], 16)] }),
    'MODEL_FORMAT',
    /5 dimensions/,
  ],
  'with a type that was never one': [
    bytes({ tensors: [matrix(12345, [4], 16)] }),
    'MODEL_UNSUPPORTED',
    /type 12345/,
  ],
  'with a type that is one no more': [
    bytes({ tensors: [matrix(4, [32], 20)] }),
    'MODEL_UNSUPPORTED',
    /type 4,/,
  ],
  'with blocks that do not fill a row': [
    bytes({ tensors: [matrix(ggufTypes.Q8_0, [4, 20], 100)] }),
    'MODEL_FORMAT',
    /whole blocks of 32/,
  ],
  'with an original shape of another size': [
    bytes({
      pairs: [[`comfy.gguf.orig_shape.${weight.name}`, value.i32s([2, 3])]],
    }),
    'MODEL_FORMAT',
    /another number of elements/,
  ],
  'with a negative original shape': [
    bytes({
      pairs: [[`comfy.gguf.orig_shape.${weight.name}`, value.i32s([-2, -2])]],
    }),
    'MODEL_FORMAT',
    /negative/,
  ],
  'that is a LoRA': [
    bytes({ tensors: [{ ...weight, name: 'lora_unet_x.lora_up.weight' }] }),
    'MODEL_UNSUPPORTED',
    /LoRA/,
  ],
  ...Object.fromEntries(
    truncations().map(([at, file]) => [
      `cut off after byte ${at}`,
      [file, 'MODEL_FORMAT', /./] satisfies [Buffer, string, RegExp],
    ]),
  ),
}

/** Cut within and right after every field of a small file. */
function truncations(): [number, Buffer][] {
  const whole = ggufBytes({ pairs: [['k', value.i32s([1])]], tensors: [weight] })
  const key = 24 + string('k').length
  const fields = [4, 8, 16, 24, key, key + 4, key + 8, key + 16, key + 20]
  const name = key + 20 + string(weight.name).length
  fields.push(name, name + 4, name + 12, name + 16, name + 24, whole.length - 17)
  return fields.map((at) => [at, whole.subarray(0, at)])
}
