/** Small safetensors files that lie; `checkpoints.test.ts` has more, made of a whole model. */
import type { HostileFile } from './hostile-torch.js'
import { safetensorsBytes } from './safetensors.js'

const name = 'model.diffusion_model.out.2.bias'
const entry = { dtype: 'F16', shape: [4], data_offsets: [0, 8] }
const other = { ...entry, data_offsets: [8, 16] }
const values = Buffer.alloc(16)

const of = (header: object | string) => safetensorsBytes(header, values)
const one = (change: object) => of({ [name]: { ...entry, ...change } })
const format = (bytes: Buffer, message: RegExp): HostileFile => [bytes, 'MODEL_FORMAT', message]

const intact = of({ [name]: entry, 'model.diffusion_model.out.0.bias': other })

export const hostileSafetensors: Record<string, HostileFile> = {
  ...Object.fromEntries(
    [1, 7, 8, 9, 40, intact.length - 17, intact.length - 16, intact.length - 9].map((length) => [
      `cut off after byte ${length} of ${intact.length}`,
      format(intact.subarray(0, length), /./),
    ]),
  ),
  'with a header of 2^64 - 1 bytes': format(Buffer.alloc(64, 0xff), /18446744073709551615/),
  'with tensors that overlap': format(of({ [name]: entry, b: { ...entry } }), /overlap/),
  'with one name twice': format(
    of(`{"a":${JSON.stringify(entry)},"a":${JSON.stringify(other)}}`),
    /twice/,
  ),
  'with a shape that overflows': format(
    one({ shape: [2 ** 32, 2 ** 32, 2 ** 32] }),
    /product overflows/,
  ),
  'with values beyond the end': format(one({ shape: [12], data_offsets: [0, 24] }), /truncated/),
  'with 10000 nested lists': format(
    of(`{"a":${'['.repeat(1e4)}${']'.repeat(1e4)}}`),
    /nested deeper/,
  ),
  'with a configuration that is no JSON': format(
    of({ [name]: entry, __metadata__: { 'magicmix.config': '{"unet":' } }),
    /not valid JSON/,
  ),
  'with a configuration of 0 heads': format(
    of({
      [name]: entry,
      __metadata__: { 'magicmix.config': '{"unet":{"attention_head_dim":0}}' },
    }),
    /attention_head_dim/,
  ),
}
