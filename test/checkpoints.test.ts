/** Files to models: the formats that are read, and what is said of files that are damaged. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { cp, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { LoadOptions, Mix, MixState } from 'magicmix'

import type { DiffusersOptions } from './support/diffusers.js'
import { assertClose } from './support/closeness.js'
import { tinyDiffusers, tinyHeads, tinyModel } from './support/models.js'
import { native } from './support/native.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'
import type { Entry, SafetensorsFile } from './support/safetensors.js'
import { smallMix, statesOf as statesWith } from './support/small-mix.js'

const target = 'model.diffusion_model.input_blocks.1.0.in_layers.2.weight' // [32, 32, 3, 3]
const neighbour = 'model.diffusion_model.input_blocks.1.0.out_layers.3.weight' // the same shape

const tokenTable = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'

/** Where a shard's index is changed. */
const shardIndex = 'unet/diffusion_pytorch_model.safetensors.index.json'
const shardBytes = 4e6

describe('checkpoints', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))))
  after(() => rm(folder, { recursive: true }))

  describe('of every format give the same states', () => {
    let expected: MixState[]
    before(async () => (expected = await statesOf(await tinyModel(), { config: tinyHeads })))

    it('F32', async () => {
      assert.deepEqual(await statesOf(await tinyModel('F32'), { config: tinyHeads }), expected)
    })

    const variants: Record<string, DiffusersOptions> = {
      'diffusers folder': {},
      'diffusers folder, F32': { dtype: 'F32' },
      'diffusers folder, shards': { shardBytes },
      'diffusers folder, old names of attention': { oldAttentionNames: true },
      'diffusers folder, text encoder without prefix': { bareTextNames: true },
    }
    for (const [name, options] of Object.entries(variants)) {
      it(name, async () => {
        assert.deepEqual(await statesOf(await tinyDiffusers(options)), expected)
      })
    }

    it('BF16, as far as its rounding allows', async () => {
      const single = await statesOf(await tinyModel('BF16'), { config: tinyHeads })
      assert.deepEqual(await statesOf(await tinyDiffusers({ dtype: 'BF16' })), single)
      const last = single.at(-1)!.latent
      assert.notDeepEqual(last, expected.at(-1)!.latent)
      assertClose('last state', last, expected.at(-1)!.latent, 0.05)
    })

    for (const precision of ['f16', 'bf16'] as const) {
      it(`loaded as ${precision}, F16 and F32 files are the same`, async () => {
        const options = { config: tinyHeads, precision }
        const half = await statesOf(await tinyModel('F16'), options)
        assert.deepEqual(await statesOf(await tinyModel('F32'), options), half)
      })
    }

    it('with tensors that mixing does not need', async () => {
      const { header, data } = readSafetensors(await tinyModel())
      const at = data.length
      const names = {
        'cond_stage_model.transformer.text_model.embeddings.position_ids': {
          dtype: 'I64',
          shape: [1, 77],
          data_offsets: [at, at + 616],
        },
        betas: { dtype: 'F64', shape: [2], data_offsets: [at + 616, at + 632] },
        'model_ema.decay': { dtype: 'F32', shape: [], data_offsets: [at + 632, at + 636] },
      }
      const file = path.join(folder, 'extra.safetensors')
      const all = { __metadata__: { format: 'pt' }, ...header, ...names }
      await writeFile(file, safetensorsBytes(all, Buffer.concat([data, Buffer.alloc(636)])))
      assert.deepEqual(await statesOf(file, { config: tinyHeads }), expected)
      await rm(file)
    })
  })

  describe('that cannot be read', () => {
    let survivor: MagicMix
    let untouched: Mix
    before(async () => {
      survivor = await load(await tinyModel(), { config: tinyHeads })
      untouched = await smallMix(survivor)
    })
    after(() => survivor?.dispose())
    afterEach('a loaded model still mixes', async () => {
      assert.deepEqual((await smallMix(survivor)).data, untouched.data)
    })

    /** A damaged file is refused by `load`, and `inspect` tells the same. */
    async function assertRefused(
      model: string,
      code: string,
      message: RegExp,
      config: LoadOptions['config'] = tinyHeads,
    ): Promise<void> {
      const loading = MagicMix.load({ model, config, device: 'cpu', precision: 'f32', threads: 1 })
      await assert.rejects(loading, coded(code, message))
      const told = await native
        .inspect(model, { unet: { heads: 4 }, textEncoder: { heads: 2 } })
        .done.then(
          ({ problem }) => problem,
          (error: Error) => error.message,
        )
      if (config === tinyHeads) assert.match(told, message)
    }

    describe('single files', () => {
      let intact: SafetensorsFile
      before(async () => (intact = readSafetensors(await tinyModel())))

      /** Writes `bytes`, expects them to be refused, and removes them. */
      async function refuse(bytes: Uint8Array, code: string, message: RegExp): Promise<void> {
        const file = path.join(folder, 'damaged.safetensors')
        await writeFile(file, bytes)
        await assertRefused(file, code, message)
        await rm(file)
      }

      /** The intact file with another header. */
      function withHeader(change: (header: Record<string, Entry>) => unknown): Buffer {
        const header = structuredClone(intact.header)
        return safetensorsBytes((change(header) as object | undefined) ?? header, intact.data)
      }

      function withTarget(change: object): Buffer {
        return withHeader((header) => {
          header[target] = { ...header[target]!, ...change }
        })
      }

      const whole = () => safetensorsBytes(intact.header, intact.data)
      const name = new RegExp(target.replaceAll('.', '\\.'))
      const both = (more: RegExp) => new RegExp(`${name.source}.*${more.source}`)

      type Damage = [bytes: () => Uint8Array, message: RegExp, code?: string]
      const damages: Record<string, Damage> = {
        'an empty file': [() => Buffer.alloc(0), /damaged\.safetensors.*(empty|0 bytes)/],
        'a file of 5 bytes': [() => Buffer.from('hello'), /damaged\.safetensors.*5 bytes/],
        'a text': [() => Buffer.from('this is not a checkpoint\n'.repeat(50)), /damaged\.safe/],
        'a header that is cut off': [
          () => whole().subarray(0, 5000),
          /damaged\.safetensors.*5000.*truncated/,
        ],
        'data that is cut off': [
          () => whole().subarray(0, -1000),
          /tensor '[\w.]+' in '.*damaged.*truncated/,
        ],
        'a header said to be of 2^63 bytes': [
          () => lying(2n ** 63n, whole()),
          /damaged\.safetensors.*9223372036854775808/,
        ],
        'a header said to be shorter': [() => lying(5000n, whole()), /header.*damaged.*JSON/],
        'a header said to be longer': [
          () => lying(whole().readBigUInt64LE() + 64n, whole()),
          /damaged.*its header lies/,
        ],
        'a header that is a list': [() => safetensorsBytes('[1, 2]', intact.data), /JSON object/],
        'a header without tensors': [() => safetensorsBytes('{}', intact.data), /no tensor/],
        'a header of 1000 nested lists': [
          () => safetensorsBytes(`{"a":${'['.repeat(1000)}${']'.repeat(1000)}}`, intact.data),
          /nested|header/,
        ],
        'a header that is not UTF-8': [
          () => badUtf8(safetensorsBytes({ 'name?': {} }, intact.data)),
          /JSON/,
        ],
        'a name that is there twice': [
          () => safetensorsBytes(twice(intact.header, target), intact.data),
          both(/twice/),
        ],
        'a tensor that is no object': [
          () => withHeader((header) => ({ ...header, [target]: 7 })),
          both(/object/),
        ],
        'offsets that overlap': [
          () => withTarget({ data_offsets: intact.header[neighbour]!.data_offsets }),
          both(/overlap/),
        ],
        'offsets behind the end': [
          () => withTarget({ data_offsets: [2 ** 40, 2 ** 40 + 18432] }),
          both(/truncated|only/),
        ],
        'offsets near 2^64': [
          () =>
            rawOffsets(withTarget({ data_offsets: [123456789, 987654321] }), [
              '18446744073709551600',
              '18446744073709533168',
            ]),
          both(/data_offsets|begin/),
        ],
        'offsets that run backwards': [
          () => withTarget({ data_offsets: [...intact.header[target]!.data_offsets].reverse() }),
          both(/before it begins/),
        ],
        'negative offsets': [() => withTarget({ data_offsets: [-18432, 0] }), both(/data_offsets/)],
        'fractional offsets': [
          () => withTarget({ data_offsets: [0.5, 18432.5] }),
          both(/data_offsets/),
        ],
        'no offsets': [() => withTarget({ data_offsets: undefined }), both(/data_offsets/)],
        'an unknown dtype': [() => withTarget({ dtype: 'F7' }), both(/dtype 'F7'/)],
        'a dtype that is no string': [() => withTarget({ dtype: 16 }), both(/dtype/)],
        'a dtype of weights that we do not use': [
          () => withTarget({ dtype: 'I16' }),
          both(/I16.*weights must be F32/),
          'MODEL_UNSUPPORTED',
        ],
        'a dtype of another size': [() => withTarget({ dtype: 'F32' }), both(/18432.*36864/)],
        'a missing tensor': [() => withHeader((header) => void delete header[target]), name],
        'a tensor of another shape': [
          () => withTarget({ shape: [32, 3, 32, 3] }),
          both(/\[32, 3, 32, 3\].*\[32, 32, 3, 3\]/),
        ],
        'a tensor of fewer dimensions': [
          () => withTarget({ shape: [32, 288] }),
          both(/\[32, 288\]/),
        ],
        'a table of tokens that is turned': [
          () =>
            withHeader((header) => {
              header[tokenTable]!.shape.reverse()
            }),
          /token_embedding|64 tokens/,
          'MODEL_UNSUPPORTED',
        ],
        'negative sizes': [() => withTarget({ shape: [-32, -32, 3, 3] }), both(/shape/)],
        'fractional sizes': [() => withTarget({ shape: [32, 32, 4.5, 2] }), both(/shape/)],
        'a shape that is no list': [() => withTarget({ shape: '32x32x3x3' }), both(/shape/)],
        'a shape of 1000 dimensions': [
          () => withTarget({ shape: Array.from({ length: 1000 }, () => 1) }),
          both(/dimensions/),
        ],
        'a shape whose product overflows': [
          () => withTarget({ shape: [2 ** 32, 2 ** 32, 2 ** 32, 2] }),
          both(/overflow/),
        ],
        'a shape whose product is 0 by overflow': [
          () => withTarget({ shape: [2 ** 32, 2 ** 31, 2, 9], data_offsets: [0, 0] }),
          both(/overflow/),
        ],
        'a shape with a 0 among huge sizes': [
          () => withTarget({ shape: [0, 2 ** 52, 2 ** 52, 2 ** 52], data_offsets: [0, 0] }),
          name,
        ],
        'sizes of 0': [() => withTarget({ shape: [0, 0, 0, 0], data_offsets: [0, 0] }), name],
        'a GGUF file': [() => Buffer.from('GGUF\x03'.padEnd(100)), /GGUF/, 'MODEL_UNSUPPORTED'],
        'a zip archive that is cut off': [() => Buffer.from('PK\x03\x04'.padEnd(99)), /truncated/],
        'a pickle': [
          () => Buffer.from('\x80\x02}.'.padEnd(99), 'latin1'),
          /a pickle that torch\.save has not written/,
          'MODEL_UNSUPPORTED',
        ],
        'Stable Diffusion XL without its second text encoder': [
          () => renamed(/^cond_stage_model\.transformer/, 'conditioner.embedders.0.transformer'),
          /lacks the second text encoder \(OpenCLIP ViT-bigG\) \(no tensor 'conditioner\.embedders\.1/,
        ],
        'only a UNet': [
          () => renamed(/^(cond|first)_stage_model/, 'another_model'),
          /damaged\.safetensors' lacks an autoencoder.*first_stage_model.* text encoder.*cond_stage/,
        ],
      }
      for (const [damage, [bytes, message, code = 'MODEL_FORMAT']] of Object.entries(damages)) {
        it(damage, () => refuse(bytes(), code, message))
      }

      function renamed(pattern: RegExp, replacement: string): Buffer {
        return withHeader((header) =>
          Object.fromEntries(
            Object.entries(header).map(([key, value]) => [
              key.replace(pattern, replacement),
              value,
            ]),
          ),
        )
      }

      it('a picture', async () => {
        await assertRefused(fixture('landscape64.png'), 'MODEL_FORMAT', /landscape64\.png/)
      })

      const leftovers: Record<string, [text: string, message: RegExp]> = {
        'a pointer of Git LFS': [
          `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 21\n`,
          /pointer of Git LFS.*git lfs pull/,
        ],
        'a web page': ['\n<!DOCTYPE html>\n<html><body>Log in</body></html>', /web page \(HTML\)/],
        'an answer in JSON': [
          '{"error":"Invalid credentials"}',
          /text in JSON.*answer of a server/,
        ],
      }
      for (const [what, [text, message]] of Object.entries(leftovers)) {
        for (const extension of ['safetensors', 'ckpt', 'gguf']) {
          it(`${what} in the place of a .${extension}`, async () => {
            const file = path.join(folder, `left.${extension}`)
            await writeFile(file, text)
            await assertRefused(file, 'MODEL_FORMAT', message)
          })
        }
      }

      it('nothing at all', async () => {
        const missing = path.join(folder, 'missing.safetensors')
        await assertRefused(missing, 'MODEL_NOT_FOUND', /missing\.safetensors/)
      })

      it('heads that the file cannot tell', async () => {
        const model = await tinyModel()
        await assertRefused(model, 'CONFIG_NEEDED', /textEncoder: \{ heads/, {})
        const half = { textEncoder: { heads: 2 } }
        await assertRefused(model, 'CONFIG_NEEDED', /unet: \{ heads/, half)
      })

      it('heads that do not divide the width', async () => {
        const config = { ...tinyHeads, unet: { heads: 3 } }
        await assertRefused(await tinyModel(), 'MODEL_FORMAT', /32.*3.*heads/, config)
      })

      it('500 random changes of the header neither crash nor hang', async function () {
        const bytes = safetensorsBytes(intact.header, Buffer.alloc(0))
        const random = pseudorandom(1)
        let refused = 0
        for (let i = 0; i < 500; i++) {
          const changed = Buffer.from(bytes)
          const changes = 1 + random(4)
          for (let k = 0; k < changes; k++) changed[random(changed.length)] = random(256)
          if ((await problemOf(changed)) !== '') refused++
        }
        assert.ok(refused > 100, `only ${refused} were refused`)
      })

      it('whichever tensor is missing', async function () {
        this.timeout(120_000)
        const unnoticed: string[] = []
        let named = 0
        for (const missing of Object.keys(intact.header)) {
          const { [missing]: _, ...header } = intact.header
          const problem = await problemOf(safetensorsBytes(header, Buffer.alloc(0)))
          if (problem === '') unnoticed.push(missing)
          if (problem.includes(`'${missing}'`)) named++
        }
        assert.deepEqual(unnoticed, [])
        // A few are what layers and levels are counted by: without them others are missed.
        const all = Object.keys(intact.header).length
        assert.ok(named > all - 30, `only ${named} of ${all} were named`)
      })

      it('a tensor that is twice as long, every fifth of them', async function () {
        this.timeout(120_000)
        const unnoticed: string[] = []
        for (const [i, longer] of Object.keys(intact.header).entries()) {
          // a table of more tokens than CLIP's is no mistake
          if (i % 5 !== 0 || longer === tokenTable) continue
          const { dtype, shape, data_offsets } = intact.header[longer]!
          const [length = 0, ...rest] = shape
          const begin = intact.data.length
          const end = begin + 2 * (data_offsets[1] - data_offsets[0])
          const entry = { dtype, shape: [2 * length, ...rest], data_offsets: [begin, end] }
          const header = { ...intact.header, [longer]: entry }
          const problem = await problemOf(safetensorsBytes(header, Buffer.alloc(0)), end)
          if (problem === '') unnoticed.push(longer)
        }
        assert.deepEqual(unnoticed, [])
      })

      /** What `inspect` says of a header with a hole of zeros behind it, '' for nothing. */
      async function problemOf(header: Buffer, dataBytes = intact.data.length): Promise<string> {
        const file = path.join(folder, `${randomUUID()}.safetensors`)
        const handle = await open(file, 'w')
        await handle.write(header)
        await handle.truncate(header.length + dataBytes)
        await handle.close()
        const { done } = native.inspect(file, { unet: { heads: 4 }, textEncoder: { heads: 2 } })
        const problem = await done.then(
          (inspection) => inspection.problem,
          (error: { code: string; message: string }) => {
            assert.match(error.code, /^MODEL_(FORMAT|UNSUPPORTED)$/)
            return error.message
          },
        )
        await rm(file)
        return problem
      }
    })

    describe('diffusers folders', () => {
      let damaged: string
      beforeEach(async () => {
        damaged = path.join(folder, 'damaged-folder')
        await cp(await tinyDiffusers({ shardBytes }), damaged, { recursive: true })
      })
      afterEach(() => rm(damaged, { recursive: true }))

      const inFolder = (file: string) => path.join(damaged, ...file.split('/'))
      async function changeJson(
        file: string,
        change: (json: Record<string, unknown>) => void,
      ): Promise<void> {
        const json = JSON.parse(await readFile(inFolder(file), 'utf8')) as Record<string, unknown>
        change(json)
        await writeFile(inFolder(file), JSON.stringify(json))
      }
      const weightMap = (json: Record<string, unknown>) =>
        json['weight_map'] as Record<string, unknown>

      it('are read when nothing is changed', async () => {
        await (await load(damaged)).dispose()
      })

      type Damage = [change: () => Promise<unknown>, message: RegExp, code?: string]
      const damages: Record<string, Damage> = {
        'without model_index.json': [
          () => rm(inFolder('model_index.json')),
          /damaged-folder.*model_index\.json/,
        ],
        'of another pipeline': [
          () =>
            changeJson('model_index.json', (json) => {
              json['_class_name'] = 'StableDiffusion3Pipeline'
            }),
          /StableDiffusion3Pipeline/,
          'MODEL_UNSUPPORTED',
        ],
        'with an index that points outside of the folder': [
          () =>
            changeJson(shardIndex, (json) => {
              weightMap(json)['conv_in.weight'] = '../vae/diffusion_pytorch_model.safetensors'
            }),
          /conv_in\.weight.*\.\.\/vae.*plain name/,
        ],
        'with an index that points to an absolute path': [
          () =>
            changeJson(shardIndex, (json) => {
              weightMap(json)['conv_in.weight'] = '/etc/passwd'
            }),
          /conv_in\.weight.*plain name/,
        ],
        'with an index that points to a number': [
          () =>
            changeJson(shardIndex, (json) => {
              weightMap(json)['conv_in.weight'] = 7
            }),
          /conv_in\.weight.*plain name/,
        ],
        'with an index without weight_map': [
          () =>
            changeJson(shardIndex, (json) => {
              delete json['weight_map']
            }),
          /index\.json.*weight_map/,
        ],
        'with an index that names a tensor which the shard lacks': [
          () =>
            changeJson(shardIndex, (json) => {
              weightMap(json)['conv_in.weights'] = weightMap(json)['conv_in.weight']
            }),
          /lacks tensor 'conv_in\.weights'/,
        ],
        'with an index that leaves a tensor out': [
          () =>
            changeJson(shardIndex, (json) => {
              delete weightMap(json)['conv_in.weight']
            }),
          /input_blocks\.0\.0\.weight/,
        ],
        'without a shard': [
          () => rm(inFolder('unet/diffusion_pytorch_model-00002-of-00005.safetensors')),
          /model-00002-of-00005\.safetensors/,
          'MODEL_NOT_FOUND',
        ],
        'without weights': [
          () => rm(inFolder('vae/diffusion_pytorch_model.safetensors')),
          /vae.*diffusion_pytorch_model/,
          'MODEL_NOT_FOUND',
        ],
        'without a whole part': [
          () => rm(inFolder('text_encoder'), { recursive: true }),
          /text_encoder/,
          'MODEL_NOT_FOUND',
        ],
        'with weights of torch that are none': [
          async () => {
            await rm(inFolder('vae/diffusion_pytorch_model.safetensors'))
            await writeFile(inFolder('vae/diffusion_pytorch_model.bin'), 'pickled')
          },
          /vae.*\.bin/,
        ],
        'with a config.json that is no JSON': [
          () => writeFile(inFolder('unet/config.json'), '{"attention_head_dim": 4,'),
          /unet.config\.json.*JSON/,
        ],
        'with a config.json that is a list': [
          () => writeFile(inFolder('vae/config.json'), '[]'),
          /vae.config\.json.*object/,
        ],
        'with a model_index.json that is no JSON': [
          () => writeFile(inFolder('model_index.json'), 'StableDiffusionPipeline'),
          /model_index\.json.*JSON/,
        ],
        'with a number of heads in words': [
          () =>
            changeJson('unet/config.json', (json) => {
              json['attention_head_dim'] = 'four'
            }),
          /unet.config\.json.*attention_head_dim.*four/,
        ],
        'with no heads': [
          () =>
            changeJson('text_encoder/config.json', (json) => {
              json['num_attention_heads'] = 0
            }),
          /text_encoder.config\.json.*num_attention_heads.*0/,
        ],
        'with groups that do not divide the channels': [
          () =>
            changeJson('unet/config.json', (json) => {
              json['norm_num_groups'] = 24
            }),
          /24.*normGroups/,
        ],
        'with colours for three channels of the latent': [
          () =>
            changeJson('vae/config.json', (json) => {
              json['latent_rgb'] = Array(3).fill([0.1, 0.2, 0.3, 0.5])
            }),
          /vae.config\.json.*latent_rgb.*3 lists of 5 numbers/,
        ],
        'with another prediction type': [
          () =>
            changeJson('scheduler/scheduler_config.json', (json) => {
              json['prediction_type'] = 'sample'
            }),
          /'sample'.*v_prediction/,
          'MODEL_UNSUPPORTED',
        ],
        'with another activation': [
          () =>
            changeJson('text_encoder/config.json', (json) => {
              json['hidden_act'] = 'relu'
            }),
          /'relu'.*quick_gelu/,
          'MODEL_UNSUPPORTED',
        ],
      }
      for (const [damage, [change, message, code = 'MODEL_FORMAT']] of Object.entries(damages)) {
        it(damage, async () => {
          await change()
          // nothing is passed that could hide what the folder says
          await assertRefused(damaged, code, message, {})
        })
      }

      it('of the first diffusers say 32 where they mean 64', async () => {
        for (const [version, sampleSize, nativeSize] of [
          ['0.6.0', 32, 512],
          ['0.8.1', 32, 512],
          ['0.8.1', 48, 384],
          ['0.9.0', 32, 256],
          ['0.21.4', 32, 256],
        ] as const) {
          await changeJson('unet/config.json', (json) =>
            Object.assign(json, { sample_size: sampleSize, _diffusers_version: version }),
          )
          await using mixer = await MagicMix.load({ model: damaged, threads: 1 })
          assert.equal(mixer.model.nativeSize, nativeSize, version)
        }
      })

      it('that say they were trained on pictures of absurd sizes', async () => {
        await changeJson('unet/config.json', (json) => (json['sample_size'] = 65536))
        await assertRefused(damaged, 'MODEL_UNSUPPORTED', /65536 cells.*sample_size.*512/, {})
      })

      it('that are empty', async () => {
        const empty = path.join(folder, 'empty')
        await mkdir(empty)
        await assertRefused(empty, 'MODEL_FORMAT', /empty.*model_index\.json/)
      })
    })
  })
})

function load(model: string, options: Partial<LoadOptions> = {}): Promise<MagicMix> {
  return MagicMix.load({ model, device: 'cpu', precision: 'f32', threads: 1, ...options })
}

/** The states of a small mix, without any rounding of ours. */
function statesOf(model: string, options: Partial<LoadOptions> = {}): Promise<MixState[]> {
  return statesWith(model, { precision: 'f32', ...options })
}

/** `bytes` with another length of the header in front. */
function lying(length: bigint, bytes: Buffer): Buffer {
  bytes.writeBigUInt64LE(length)
  return bytes
}

function badUtf8(bytes: Buffer): Buffer {
  bytes[bytes.indexOf('?')] = 0xff
  return bytes
}

/** A header in which `name` stands twice. */
function twice(header: Record<string, Entry>, name: string): string {
  const again = `${JSON.stringify(name)}:${JSON.stringify(header[name])}`
  return `${JSON.stringify(header).slice(0, -1)},${again}}`
}

/** Numbers that JavaScript cannot hold, in the place of 123456789 and 987654321. */
function rawOffsets(bytes: Buffer, [begin, end]: [string, string]): Buffer {
  const length = Number(bytes.readBigUInt64LE())
  const json = bytes.toString('utf8', 8, 8 + length)
  return safetensorsBytes(
    json.replace('123456789', begin).replace('987654321', end),
    bytes.subarray(8 + length),
  )
}

/** A small generator of integers below a bound: tests must fail the same way twice. */
function pseudorandom(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}
