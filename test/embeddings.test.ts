/** Textual inversion: a vector that is the row of a word is that word. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { LoadOptions, MixRequest } from 'magicmix'

import { ClipTokens } from '../dist/input/tokens.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { nativeOf, padded } from './support/native.js'
import { fixture } from './support/package-root.js'
import { pickled, pickledTensor, torchArchive } from './support/torch-writer.js'
import { readSafetensors, safetensorsBytes, tensorValues } from './support/safetensors.js'

const tokenTable = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'
const vocabulary = 49408
const width = 64

describe('embeddings', function () {
  let folder: string
  let model: string
  let rows: ArrayLike<number>
  let corgi: number[], axolotl: number[]
  before(async () => {
    const clip = await ClipTokens.load()
    corgi = clip.tokensOf('corgi').map(({ id }) => id)
    axolotl = clip.tokensOf('axolotl').map(({ id }) => id)
    assert.deepEqual([corgi.length, axolotl.length], [1, 4])
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-embeddings-'))
    model = await tinyModel()
    rows = tensorValues(readSafetensors(model), tokenTable)
  })
  after(() => rm(folder, { recursive: true }))

  /** The rows of tokens in the model's own table. */
  const rowsOf = (ids: number[]) =>
    ids.flatMap((id) => Array.from({ length: width }, (_, i) => rows[id * width + i] as number))

  let files = 0
  async function fileOf(
    tensors: Record<string, { values: number[]; shape: number[]; dtype?: 'F32' | 'I32' }>,
  ): Promise<string> {
    const header: Record<string, object> = {}
    const parts: Buffer[] = []
    let end = 0
    for (const [name, { values, shape, dtype = 'F32' }] of Object.entries(tensors)) {
      const Values = dtype === 'F32' ? Float32Array : Int32Array
      const bytes = Buffer.from(Values.from(values).buffer)
      header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] }
      parts.push(bytes)
      end += bytes.length
    }
    const file = path.join(folder, `${files++}.safetensors`)
    await writeFile(file, safetensorsBytes(header, Buffer.concat(parts)))
    return file
  }

  async function withMixer<T>(
    options: LoadOptions,
    use: (mixer: MagicMix) => T | Promise<T>,
  ): Promise<T> {
    const mixer = await MagicMix.load({
      ...{ model, config: tinyHeads, device: 'cpu', threads: 1, precision: 'f32' },
      ...options,
    })
    try {
      return await use(mixer)
    } finally {
      await mixer.dispose()
    }
  }

  async function pictureOf(mixer: MagicMix, request: Partial<MixRequest>) {
    const { data } = await mixer.mix({
      ...{ layout: fixture('landscape64.png'), content: '', steps: 3, seed: 1 },
      ...{ width: 32, height: 32 },
      ...request,
    })
    return data
  }

  for (const precision of ['f32', 'f16', 'bf16'] as const) {
    it(`gives the picture of the words whose rows they are, in ${precision}`, async () => {
      const embeddings = {
        '<pet>': await fileOf({ '<pet>': { values: rowsOf(corgi), shape: [width] } }),
        '<amphibian>': await fileOf({
          emb_params: { values: rowsOf(axolotl), shape: [axolotl.length, width] },
        }),
      }
      await withMixer({ embeddings, precision }, async (mixer) => {
        const words = await pictureOf(mixer, {
          content: 'a corgi beside an axolotl',
          negativePrompt: 'corgi',
          attention: { axolotl: -1, corgi: 1.5 },
        })
        const learnt = await pictureOf(mixer, {
          content: 'a <pet> beside an <amphibian>',
          negativePrompt: '<pet>',
          attention: { '<amphibian>': -1, '<pet>': 1.5 },
        })
        const unscaled = await pictureOf(mixer, { content: 'a <pet> beside an <amphibian>' })
        assert.deepEqual(learnt, words)
        assert.notDeepEqual(unscaled, words)
      })
    })
  }

  it('change no picture that does not name them', async () => {
    const embeddings = {
      '<pet>': await fileOf({ x: { values: rowsOf(corgi), shape: [1, width] } }),
    }
    const content = 'a <PET> and a <cat>'
    const known = await withMixer({ embeddings }, (mixer) => pictureOf(mixer, { content }))
    const plain = await withMixer({}, (mixer) => pictureOf(mixer, { content }))
    assert.deepEqual(known, plain)
  })

  it('are read as diffusers and the AUTOMATIC1111 web UI write them', async () => {
    const values = rowsOf(corgi)
    const asPicture = (file: string) =>
      withMixer({ embeddings: { '<pet>': file } }, (mixer) =>
        pictureOf(mixer, { content: 'a <pet>' }),
      )
    const word = await withMixer({}, (mixer) => pictureOf(mixer, { content: 'a corgi' }))
    const other = { values: rowsOf([320]), shape: [width] }
    const written = {
      'called otherwise in training': { '<dog>': { values, shape: [width] } },
      'several in a file': { '<cat>': other, '<pet>': { values, shape: [width] }, '<x>': other },
      'the web UI': { emb_params: { values, shape: [1, width] } },
      'a pickle of the web UI': {
        'string_to_param.*': { values, shape: [1, width] },
        'string_to_token.*': { values: [265], shape: [1], dtype: 'I32' as const },
      },
    }
    for (const [name, tensors] of Object.entries(written)) {
      assert.deepEqual(await asPicture(await fileOf(tensors)), word, name)
    }

    // what the web UI saves with torch: a dictionary in a dictionary, and more beside it
    const { text, number, dictionary, whole } = pickled
    const vector = pickledTensor({
      ...{ storage: 'FloatStorage', key: '0', elements: width, shape: [1, width] },
    })
    const pickle = whole(
      dictionary(
        [text('string_to_token'), dictionary([text('*'), number(265)])],
        [text('string_to_param'), dictionary([text('*'), vector])],
        [text('name'), text('pet')],
        [text('step'), number(1000)],
      ),
    )
    const file = path.join(folder, 'pet.pt')
    await writeFile(
      file,
      torchArchive(pickle, { 0: Buffer.from(Float32Array.from(values).buffer) }),
    )
    assert.deepEqual(await asPicture(file), word, 'a .pt file')
  })

  it('are found in prompts as they are written: the longest, and not inside of words', async () => {
    const one = await fileOf({ x: { values: rowsOf(corgi), shape: [width] } })
    const two = await fileOf({ x: { values: rowsOf([320, 320]), shape: [2, width] } })
    const embeddings = { sks: one, 'sks-dog': two, '<a.*>': one }
    await withMixer({ embeddings }, (mixer) => {
      const tokens = (text: string) =>
        mixer
          .tokenize(text)
          .slice(1, -1)
          .map(({ text: part, id }) => (id < vocabulary ? part : `[${part} ${id}]`))
      assert.deepEqual(tokens('a sks-dog,sks<a.*>s'), [
        'a',
        '[sks-dog 49409]',
        '[sks-dog 49410]',
        ',',
        '[sks 49408]',
        '[<a.*> 49411]',
        's',
      ])
      assert.deepEqual(
        tokens('Tasks SKS <ab>').filter((text) => text.includes('[')),
        [],
      )
      assert.deepEqual(
        mixer.tokenize('sks-dog').map(({ index }) => index),
        [0, 1, 2, 3],
      )
      const asWritten = { anyCase: false, wholeWord: true }
      assert.deepEqual(mixer.model.embeddings, [
        { placeholder: 'sks', tokens: 1, ids: [49408], ...asWritten },
        { placeholder: 'sks-dog', tokens: 2, ids: [49409, 49410], ...asWritten },
        { placeholder: '<a.*>', tokens: 1, ids: [49411], ...asWritten },
      ])
      assert.equal(mixer.model.sizes.textEncoder.vocabulary, vocabulary + 4)
    })
  })

  it('count as many of the 75 tokens as they have vectors', async () => {
    const embeddings = {
      '<all>': await fileOf({
        x: { values: Array<number>(75 * width).fill(0.1), shape: [75, width] },
      }),
    }
    await withMixer({ embeddings }, async (mixer) => {
      await pictureOf(mixer, { content: '<all>' })
      await assert.rejects(pictureOf(mixer, { content: 'a <all>' }), {
        code: 'PROMPT_TOO_LONG',
        details: { name: 'the content prompt', tokens: 76, maxTokens: 75, firstCut: '<all>' },
      })
      await pictureOf(mixer, { content: 'a <all>', truncate: true })
    })
  })

  it('leave no token id beyond their own', async () => {
    const embeddings = { '<pet>': await fileOf({ x: { values: rowsOf(corgi), shape: [width] } }) }
    const encode = (mixer: MagicMix, id: number) =>
      nativeOf(mixer).encodeText(padded([id], mixer)).done
    await withMixer({ embeddings }, async (mixer) => {
      assert.deepEqual(await encode(mixer, vocabulary), await encode(mixer, corgi[0]!))
      await assert.rejects(encode(mixer, vocabulary + 1), { code: 'INVALID_ARGUMENT' })
    })
    await withMixer({}, (mixer) =>
      assert.rejects(encode(mixer, vocabulary), { code: 'INVALID_ARGUMENT' }),
    )
  })

  describe('that cannot be used are refused', () => {
    const one = { values: Array<number>(width).fill(0), shape: [width] }
    const cases: [string, Parameters<typeof fileOf>[0], string, RegExp][] = [
      [
        'of another width',
        { '<pet>': { values: [1, 2, 3], shape: [1, 3] } },
        'MODEL_UNSUPPORTED',
        /vectors of width 3 .*'<pet>'.*the text encoder of the model has width 64/,
      ],
      [
        'for Stable Diffusion XL',
        { clip_l: one, clip_g: one },
        'MODEL_UNSUPPORTED',
        /Stable Diffusion XL/,
      ],
      [
        'with none of that name',
        { '<cat>': one, '<dog>': one },
        'MODEL_UNSUPPORTED',
        /2 tensors \('<cat>', '<dog>'\), and none of them is called '<pet>'/,
      ],
      ['with no tensor', {}, 'MODEL_UNSUPPORTED', /0 tensors/],
      [
        'with more vectors than a prompt has tokens',
        { x: { values: Array<number>(76 * width).fill(0), shape: [76, width] } },
        'MODEL_UNSUPPORTED',
        /76 vectors, but only 75/,
      ],
      [
        'of three dimensions',
        { x: { values: one.values, shape: [1, 1, width] } },
        'MODEL_UNSUPPORTED',
        /shape \[width\] or \[vectors, width\]/,
      ],
      [
        'of no vectors',
        { x: { values: [], shape: [0, width] } },
        'MODEL_UNSUPPORTED',
        /no vectors/,
      ],
      ['of whole numbers', { x: { ...one, dtype: 'I32' } }, 'MODEL_UNSUPPORTED', /I32/],
      [
        'of values that are no numbers',
        { x: { values: [NaN, ...one.values.slice(1)], shape: [width] } },
        'MODEL_FORMAT',
        /not finite/,
      ],
    ]
    for (const [name, tensors, code, message] of cases) {
      it(name, async () => {
        const embeddings = { '<pet>': await fileOf(tensors) }
        await assert.rejects(
          withMixer({ embeddings }, () => undefined),
          { code, message },
        )
      })
    }

    it('a file that is not there, a damaged one', async () => {
      const refused = (file: string, code: string) =>
        assert.rejects(
          withMixer({ embeddings: { '<pet>': file } }, () => undefined),
          { code },
        )
      await refused(path.join(folder, 'none.safetensors'), 'MODEL_NOT_FOUND')
      const damaged = path.join(folder, 'damaged.safetensors')
      await writeFile(damaged, 'nothing that is known')
      await refused(damaged, 'MODEL_FORMAT')
    })

    it('names with white space or without a letter, what is no file', async () => {
      const refused = (embeddings: unknown, message: RegExp) =>
        assert.rejects(
          withMixer({ embeddings: embeddings as Record<string, string> }, () => undefined),
          { code: 'INVALID_ARGUMENT', message },
        )
      await refused({ 'cat toy': 'x' }, /a placeholder of embeddings.*'cat toy'/)
      await refused({ '': 'x' }, /a placeholder of embeddings/)
      await refused({ '<pet>': 7 }, /embeddings\['<pet>'\]/)
      await refused({ '<pet>': '' }, /embeddings\['<pet>'\]/)
      await refused(['x'], /embeddings/)
    })
  })
})
