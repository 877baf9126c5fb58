/** What is given for a path and is none: the message says what would be right. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import { MagicMix, type ModelKind, convert } from 'magicmix'

import { localFile } from '../dist/hub/local.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { packageRoot } from './support/package-root.js'
import { runNode, smallRequest } from './support/programs.js'
import { coded } from './support/refusals.js'

describe('a path', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-paths-'))
    const snapshot = 'hub/models--org--name/snapshots'
    const files = [
      ...['models/dreamshaper_8.safetensors', 'models/other.ckpt', 'models/quoted.gguf'],
      ...[`${snapshot}/abc/model_index.json`, `${snapshot}/def/model_index.json`],
      ...['hub/models--org--empty/refs/main', 'inside/inner/model_index.json'],
      ...diffusers('half', '.fp16.safetensors'),
      ...diffusers('ema', '.non_ema.safetensors'),
      ...diffusers('sharded', '.ema-00001-of-00002.bin'),
      ...['flax/model_index.json', 'flax/unet/diffusion_flax_model.msgpack'],
      ...['onnx/model_index.json', 'onnx/text_encoder/model.onnx'],
      ...['vino/model_index.json', 'vino/vae/openvino_model.bin'],
      ...['toy/learned_embeds.bin', 'toys/a.pt', 'toys/b.pt'],
    ]
    for (const file of files) {
      await mkdir(path.dirname(path.join(folder, file)), { recursive: true })
      await writeFile(path.join(folder, file), 'x')
    }
    await mkdir(path.join(folder, 'hub/models--org--empty/snapshots'))
    await mkdir(path.join(folder, 'hub/models--org--name/refs'))
    await writeFile(path.join(folder, 'hub/models--org--name/refs/main'), 'def\n')
    await symlink('../blobs/gone', path.join(folder, 'models', 'link.safetensors'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  function diffusers(name: string, ending: string): string[] {
    return [
      `${name}/model_index.json`,
      `${name}/text_encoder/model.safetensors`,
      `${name}/unet/diffusion_pytorch_model${ending}`,
      `${name}/vae/diffusion_pytorch_model.bin`,
    ]
  }

  const hub = 'https://huggingface.co/org/name'
  const names: Record<string, [given: string, message: RegExp]> = {
    'a repository': ['org/name', /nothing has that name in .*write 'hf:org\/name'$/],
    'a file of a repository': [
      'org/name@v1/a.safetensors',
      /write 'hf:org\/name@v1\/a\.safetensors'$/,
    ],
    'a short name': ['sd15', /write 'hf:sd1\.5'$/],
    'a prefix in capitals': ['HF:org/name', /write 'hf:org\/name'$/],
    'a page of the hub': [hub, /address of the hub; write 'hf:org\/name'$/],
    'a page without its scheme': ['huggingface.co/org/name', /write 'hf:org\/name'$/],
    'a file of the hub': [
      `${hub}/resolve/main/sub/a%20b.safetensors?download=true`,
      /write 'hf:org\/name\/sub\/a b\.safetensors'$/,
    ],
    'a revision of the hub': [`${hub}/tree/refs%2Fpr%2F1`, /write 'hf:org\/name@refs\/pr\/1'$/],
    'a data set of the hub': [
      'https://huggingface.co/datasets/org/name',
      /download the file first/,
    ],
    'another address': ['https://example.org/a.safetensors', /download the file first/],
    'a bucket': ['s3://bucket/a.safetensors', /download the file first/],
    'a file: URL': [
      String(pathToFileURL(path.resolve('a b.safetensors'))),
      /give the path '.*a b\.safetensors'$/,
    ],
    'the home folder': ['~/a.ckpt', new RegExp(`'${path.join(homedir(), 'a.ckpt')}'$`)],
    'a variable': ['$MODELS/a.ckpt', /in the place of \$MODELS/],
    'a name of the cache': ['models--org--name', /write 'hf:org\/name'$/],
  }
  for (const [what, [given, message]] of Object.entries(names)) {
    it(`that is none is explained: ${what}`, async () => {
      for (const kind of ['model', 'lora', 'embedding', 'vae', 'tinyDecoder'] as const) {
        await assert.rejects(localFile(given, kind), coded('MODEL_NOT_FOUND', message))
      }
    })
  }

  const missing: Record<string, [given: string, message: RegExp]> = {
    'a slip of the pen': [
      'models/dreamshaper8.safetensors',
      /mean '.*dreamshaper_8\.safetensors'\?$/,
    ],
    'no extension': ['models/Dreamshaper_8', /mean '.*models\/dreamshaper_8\.safetensors'\?$/],
    'another extension': ['models/other.safetensors', /mean '.*models\/other\.ckpt'\?$/],
    'a slip in a folder': ['model/other.ckpt', /mean '.*models\/other\.ckpt'\?$/],
    'a slip in a folder and no file': ['model/none.ckpt', /no 'model' in .*mean 'models'\?$/],
    'separators of Windows': ['models\\other.ckpt', /mean '.*models\/other\.ckpt'\?$/],
    'nothing like it': ['models/sdxl.ckpt', /no 'sdxl\.ckpt' in .*has dreamshaper_8.*other\.ckpt/],
    'no such folder': ['nowhere/none.ckpt', /no 'nowhere' in the folder/],
    'a file for a folder': ['models/other.ckpt/unet', /other\.ckpt' is not a folder/],
    'a link to nothing': [
      'models/link.safetensors',
      /a link to '\.\.\/blobs\/gone', where nothing/,
    ],
  }
  for (const [what, [given, message]] of Object.entries(missing)) {
    it(`to nothing has its neighbours named: ${what}`, async function () {
      if (path.sep !== '/') this.skip()
      const file = path.join(folder, given)
      await assert.rejects(localFile(file, 'model'), coded('MODEL_NOT_FOUND', message))
    })
  }

  it('in quotes, or with white space around it, is found without', async () => {
    const file = path.join(folder, 'models', 'quoted.gguf')
    for (const given of [`"${file}"`, `'${file}'`, `${file}\r\n`, ` ${file}`]) {
      const message = /did you mean '[^"\s]*quoted\.gguf'\?$/
      await assert.rejects(localFile(given, 'model'), coded('MODEL_NOT_FOUND', message))
    }
  })

  const folders: Record<string, [given: string, message: RegExp, kind?: ModelKind, code?: string]> =
    {
      "a repository in the hub's cache": [
        'hub/models--org--name',
        /give a revision in it, '.*snapshots\/def' \(it also has abc\), or write 'hf:org\/name'$/,
        'lora',
      ],
      'its revisions': [
        'hub/models--org--name/snapshots',
        /give .*'.*name\/snapshots\/def'/,
        'vae',
      ],
      'a repository without revisions': ['hub/models--org--empty', /write 'hf:org\/empty'$/],
      'the whole cache': ['hub', /is the cache of the hub; .*hf:org\/empty, hf:org\/name$/],
      'only another variant': [
        'ema',
        /only unet\/.*non_ema\.safetensors, the variant 'non_ema'; .*rename .* diffusion_pytorch_model\.saf/,
      ],
      'another variant in shards': ['sharded', /the variant 'ema'/],
      'weights of Flax': [
        'flax',
        /unet\/diffusion_flax_model\.msgpack, weights of Flax; a copy with/,
      ],
      'weights of ONNX': ['onnx', /text_encoder\/model\.onnx, weights of ONNX/],
      'weights of OpenVINO': ['vino', /vae\/openvino_model\.bin, weights of OpenVINO/],
      'single files': [
        'models',
        /no model_index\.json.*models\/dreamshaper/,
        'model',
        'MODEL_FORMAT',
      ],
      'a model in a folder': [
        'inside',
        /give what is in it: '.*inside\/inner'/,
        'model',
        'MODEL_FORMAT',
      ],
      'several embeddings': [
        'toys',
        /a\.pt, b\.pt; name one, such as '.*toys\/a\.pt'$/,
        'embedding',
      ],
    }
  for (const [what, [given, message, kind = 'model', code]] of Object.entries(folders)) {
    it(`to a folder that will not do is explained: ${what}`, async function () {
      if (path.sep !== '/') this.skip()
      const refused = localFile(path.join(folder, given), kind)
      await assert.rejects(refused, coded(code ?? 'MODEL_NOT_FOUND', message))
    })
  }

  it('to what is there is left alone', async () => {
    for (const given of ['half', 'models/other.ckpt']) {
      const file = path.join(folder, given)
      assert.equal(await localFile(file, 'model'), file)
    }
    const toy = path.join(folder, 'toy')
    assert.equal(await localFile(toy, 'embedding'), path.join(toy, 'learned_embeds.bin'))
    for (const odd of ['a\0b', 'x'.repeat(5000)]) assert.equal(await localFile(odd, 'model'), odd)
  })

  it('is explained wherever one is given', async () => {
    const message = coded('MODEL_NOT_FOUND', /write 'hf:org\/name'$/)
    const file = 'org/name'
    const model = await tinyModel()
    const options = { model, config: tinyHeads, threads: 1 }
    await assert.rejects(MagicMix.load({ model: file }), message)
    await assert.rejects(MagicMix.load({ ...options, loras: [{ file }] }), message)
    await assert.rejects(MagicMix.load({ ...options, embeddings: { '<x>': file } }), message)
    await assert.rejects(convert({ input: file, output: path.join(folder, 'a.gguf') }), message)
    await using mixer = await MagicMix.load(options)
    await assert.rejects(mixer.mix({ ...smallRequest, loras: [{ file }] }), message)

    const bin = path.join(packageRoot, 'dist', 'cli', 'main.js')
    for (const args of [
      ['inspect', file],
      ['mix', '--layout-prompt', 'a', 'b', '--model', file],
    ]) {
      const { code, stderr } = await runNode([bin, ...args], folder)
      assert.equal(code, 1)
      assert.match(stderr, /write 'hf:org\/name' \(MODEL_NOT_FOUND\)\n$/)
    }
  })
})
