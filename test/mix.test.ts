import assert from 'node:assert/strict'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import { MagicMix, type Mix, type MixRequest, type ProgressEvent } from 'magicmix'
import sharp from 'sharp'

import { block } from './support/block.js'
import { fixture } from './support/package-root.js'
import { tinyHeads, tinyModel } from './support/models.js'

const request: MixRequest = {
  layout: fixture('landscape64.png'),
  content: 'a photo of a coffee machine',
  attention: { 'coffee machine': 1.4 },
  steps: 10,
  width: 64,
  height: 72,
  seed: 42,
}

describe('a mix', () => {
  let mixer: MagicMix
  let mix: Mix
  before(async () => {
    mixer = await MagicMix.load({
      model: await tinyModel(),
      config: tinyHeads,
      precision: 'f32',
      threads: 1, // more threads than free cores would wait for each other
    })
    mix = await mixer.mix(request)
  })
  after(() => mixer.dispose())

  it('has pixels, a seed and the request with every default', () => {
    assert.deepEqual([mix.width, mix.height, mix.seed], [64, 72, 42])
    assert.ok(mix.data instanceof Uint8Array)
    assert.equal(mix.data.length, 64 * 72 * 3)
    assert.ok(new Set(mix.data).size > 16, 'a picture has more than a few values')
    assert.deepEqual(mix.request, {
      ...request,
      attention: [{ text: 'coffee machine', scale: 1.4, from: 0, to: 1 }],
      kMin: 0.3,
      kMax: 0.6,
      nu: 0.9,
      interpolate: null,
      layouts: null,
      contents: null,
      nuMap: null,
      kMaxMap: null,
      method: 'magicmix',
      promptSyntax: 'plain',
      loras: [],
      negativePrompt: '',
      guidanceScale: 7.5,
      eta: 0,
      fit: 'cover',
      background: 'white',
      truncate: false,
      decoder: 'full',
      previewEvery: 0,
      sampler: 'ddim',
      spacing: undefined,
      guidanceInterval: [0, 1],
      cache: null,
      conditioning: null,
      fast: 'off',
      gamma: 0.3,
      trace: false,
      score: false,
    })
  })

  it('has timings of what ran', () => {
    const { load, encode, step, steps, decode, total } = mix.timings
    assert.equal(steps.length, 6)
    for (const time of [load, encode, step, decode, ...steps]) assert.ok(time > 0)
    const mean = steps.reduce((sum, time) => sum + time, 0) / steps.length
    assert.ok(Math.abs(step - mean) < 1e-6)
    assert.ok(total >= encode + decode)
  })

  it('says what the UNet was called for', () => {
    assert.deepEqual(mix.unetCalls, { full: 6, cached: 0, unguided: 0 })
  })

  it('comes out the same from its own request', async () => {
    const again = await mixer.mix(mix.request)
    assert.deepEqual(again.data, mix.data)
    const { data } = await mixer.mix({ ...mix.request, seed: 43 })
    assert.notDeepEqual(data, mix.data)
  })

  it('has no states unless they are asked for', () => {
    assert.deepEqual([mix.trace, mix.layoutTrace], [[], []])
  })

  it('has the states from where mixing begins to the clean latent', async () => {
    const { trace, layoutTrace, data } = await mixer.mix({ ...request, trace: true })
    assert.deepEqual(data, mix.data)
    assert.deepEqual(
      trace.map(({ index, timestep }) => [index, timestep]),
      [
        [4, 501],
        [5, 401],
        [6, 301],
        [7, 201],
        [8, 101],
        [9, 1],
        [10, 0],
      ],
    )
    for (const { latent, shape } of trace) {
      assert.deepEqual(shape, [1, 4, 9, 8])
      assert.equal(latent.length, 4 * 9 * 8)
    }
    assert.deepEqual(layoutTrace, [])
  })

  it('interpolates the content with another prompt, from none of it to all', async () => {
    const prompt = 'a tiger in the snow'
    const unscaled = { ...request, attention: {} }
    const weighted = async (weight: number) =>
      (await mixer.mix({ ...unscaled, interpolate: { prompt, weight } })).data
    const content = (await mixer.mix(unscaled)).data
    const other = (await mixer.mix({ ...unscaled, content: prompt })).data
    assert.deepEqual(await weighted(0), content)
    assert.deepEqual(await weighted(1), other)
    const between = await weighted(0.5)
    assert.notDeepEqual(between, content)
    assert.notDeepEqual(between, other)
  })

  it('has the states of a layout prompt', async () => {
    const layout = { prompt: 'a hill' }
    const { layoutTrace } = await mixer.mix({ ...request, layout, trace: true })
    assert.deepEqual(
      layoutTrace.map(({ index }) => index),
      [0, 1, 2, 3, 4, 5, 6],
    )
  })

  it('tells its progress, stage by stage', async () => {
    const events: ProgressEvent[] = []
    await mixer.mix({ ...request, onProgress: (event) => events.push(event) })
    assert.deepEqual(
      [...new Set(events.map(({ stage }) => stage))],
      ['encode', 'content', 'decode'],
    )
    const content = events.filter(({ stage }) => stage === 'content')
    assert.ok(content.length > 0)
    for (const [i, { step, steps, preview }] of content.entries()) {
      assert.ok(step > (content[i - 1]?.step ?? -1) && step <= steps)
      assert.equal(steps, 6)
      assert.equal(preview, undefined)
    }
  })

  it('tells how every stage ended, even to an onProgress that sleeps through the mix', async () => {
    const ends = new Map<string, string>()
    await mixer.mix({
      ...request,
      layout: { prompt: 'a hill' },
      onProgress: ({ stage, step, steps }) => {
        ends.set(stage, `${step}/${steps}`)
        block(300)
      },
    })
    assert.deepEqual(
      [...ends],
      [
        ['encode', '3/3'],
        ['layout', '6/6'],
        ['content', '6/6'],
        ['decode', '1/1'],
      ],
    )
  })

  it('brings previews of one pixel per latent cell', async () => {
    const previews: ProgressEvent['preview'][] = []
    await mixer.mix({
      ...request,
      previewEvery: 1,
      onProgress: ({ preview }) => {
        if (preview) previews.push(preview)
      },
    })
    assert.ok(previews.length > 0)
    for (const preview of previews) {
      assert.deepEqual([preview?.width, preview?.height, preview?.data.length], [8, 9, 8 * 9 * 3])
    }
  })

  it('waits its turn, first come, first served', async () => {
    const order: number[] = []
    const prompts = Array.from({ length: 4 }, (_, seed) =>
      mixer
        .mix({ ...request, layout: { prompt: 'a hill' }, steps: 2, seed })
        .then((each) => order.push(each.seed)),
    )
    await Promise.all(prompts)
    assert.deepEqual(order, [0, 1, 2, 3])
  })

  it('is written without loss as PNG, and in other formats', async () => {
    const { data } = await sharp(await mix.toBuffer())
      .raw()
      .toBuffer({ resolveWithObject: true })
    assert.ok(data.equals(mix.data))
    for (const format of ['png', 'jpeg', 'webp', 'tiff'] as const) {
      const { width, height, ...found } = await sharp(await mix.toBuffer(format)).metadata()
      assert.deepEqual([width, height, found.format], [64, 72, format])
    }
    const { info } = await mix.toSharp().resize(32).png().toBuffer({ resolveWithObject: true })
    assert.equal(info.width, 32)
  })

  it('is written to a file in the format that its name says', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-mix-'))
    try {
      for (const [name, format] of [
        ['mix.PNG', 'png'],
        ['mix.jpg', 'jpeg'],
        ['mix.webp', 'webp'],
      ] as const) {
        await mix.toFile(path.join(folder, name))
        const url = pathToFileURL(path.join(folder, `url-${name}`))
        await mix.toFile(/png/i.test(name) ? url : url.href)
        await access(url)
        assert.equal((await sharp(path.join(folder, name)).metadata()).format, format)
      }
      const { data } = await sharp(path.join(folder, 'mix.PNG'))
        .raw()
        .toBuffer({ resolveWithObject: true })
      assert.ok(data.equals(mix.data))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('is JSON without pixels', () => {
    const json = JSON.parse(JSON.stringify(mix)) as Record<string, unknown>
    assert.deepEqual(Object.keys(json), [
      'width',
      'height',
      'seed',
      'request',
      'timings',
      'unetCalls',
    ])
    const { layout } = json.request as Record<string, unknown>
    assert.equal((layout as { path: string }).path, 'landscape64.png')
  })

  it('describes its model', () => {
    const { family, format, precision, parameters, sizes, memory } = mixer.model
    assert.deepEqual([family, format, precision], ['sd1', 'safetensors', 'f32'])
    const { total, textEncoder, unet, vae } = parameters
    assert.equal(total, textEncoder + unet + vae)
    assert.deepEqual(sizes.unet.channels, [32, 64, 128, 128])
    assert.deepEqual(sizes.unet.heads, [4, 4, 4, 4])
    assert.equal(sizes.textEncoder.heads, 2)
    assert.ok(memory.weights > 0)
    assert.throws(() => Object.assign(sizes.unet, { heads: 8 }), TypeError)
  })
})
