/** The API of images, driven by OpenAI's own client. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { readRecipe } from 'magicmix'
import OpenAI, { APIError, toFile } from 'openai'
import type { ImageEditParams, ImageGenerateParams } from 'openai/resources/images'
import sharp from 'sharp'

import { type Served, served, small } from './support/served.js'

const heart = path.join(__dirname, '..', '..', '..', 'models', 'layouts', 'heart.png')
const { content, steps } = small
const magicmix = { steps, seed: 7 }

describe("OpenAI's client", () => {
  let place: Served & { end(): Promise<void> }
  let openai: OpenAI
  before(async () => {
    place = await served({ token: 'secret' })
    openai = clientWith('secret')
  })
  after(() => place.end())

  function clientWith(apiKey: string) {
    return new OpenAI({ apiKey, baseURL: `${place.address}/v1`, maxRetries: 0 })
  }
  // Its types know nothing of fields of others.
  const generate = (params: object) =>
    openai.images.generate(params as ImageGenerateParams & { stream?: false })
  const edit = (params: object) =>
    openai.images.edit(params as ImageEditParams & { stream?: false })
  const pictures = (made: Awaited<ReturnType<typeof generate>>) =>
    (made.data ?? []).map(({ b64_json }) => Buffer.from(b64_json ?? '', 'base64'))

  it('generates: the prompt is layout and content, or the layout is given', async () => {
    const made = await generate({ prompt: content, n: 2, size: '128x128', magicmix })
    assert.ok(Math.abs(made.created - Date.now() / 1000) < 60)
    assert.deepEqual([made.size, made.output_format], ['128x128', 'png'])
    const both = pictures(made)
    for (const [i, picture] of both.entries()) {
      const own = await place.mixer.mix({
        ...{ layout: { prompt: content }, content, steps, seed: 7 + i },
        ...{ width: 128, height: 128 },
      })
      assert.deepEqual(picture, await own.toBuffer({ format: 'png', recipe: true }))
    }
    const layout = small.layout.prompt
    const [mixed] = pictures(await generate({ prompt: content, layout, magicmix }))
    const own = await place.mixer.mix(small)
    assert.deepEqual(mixed, await own.toBuffer({ format: 'png', recipe: true }))
  })

  it('edits: the image is the layout', async () => {
    const image = await toFile(await readFile(heart), 'heart.png', { type: 'image/png' })
    const params = { image, prompt: content, magicmix, output_format: 'webp', n: 1 }
    const [picture = Buffer.alloc(0)] = pictures(await edit(params))
    assert.equal((await sharp(picture).metadata()).format, 'webp')
    const recipe = await readRecipe(picture)
    assert.deepEqual([recipe.request.seed, recipe.request.content], [7, content])
    const own = await place.mixer.mix({ layout: heart, content, ...magicmix })
    const plain = pictures(await edit({ ...params, output_format: 'png' }))
    const data = await sharp(plain[0]).raw().toBuffer()
    assert.deepEqual(data, Buffer.from(own.data))

    const listed = pictures(await edit({ ...params, image: [image], output_format: 'png' }))
    assert.deepEqual(listed, plain)
  })

  it('takes a mask as a map of kMax: what is opaque stays', async () => {
    const image = await toFile(await readFile(heart), 'heart.png', { type: 'image/png' })
    const { width = 0, height = 0 } = await sharp(heart).metadata()
    const clear = { create: { width, height, channels: 4 as const, background: '#fff0' } }
    const opaque = { create: { ...clear.create, background: '#ffff' } }
    const maskOf = async (picture: typeof clear) =>
      toFile(await sharp(picture).png().toBuffer(), 'mask.png', { type: 'image/png' })
    const params = { image, prompt: content, magicmix }
    // Where it is clear, the picture may change: all of it, as without one; or nothing.
    const [without] = pictures(await edit(params))
    const [everywhere] = pictures(await edit({ ...params, mask: await maskOf(clear) }))
    const [nowhere] = pictures(await edit({ ...params, mask: await maskOf(opaque) }))
    const pixels = (png: Buffer | undefined) => sharp(png).raw().toBuffer()
    assert.deepEqual(await pixels(everywhere), await pixels(without))
    assert.notDeepEqual(await pixels(nowhere), await pixels(without))
    const [original, kept, changed] = await Promise.all([
      sharp(heart).removeAlpha().raw().toBuffer(),
      pixels(nowhere),
      pixels(without),
    ])
    const distance = (bytes: Buffer) =>
      bytes.reduce((sum, value, i) => sum + Math.abs(value - (original[i] ?? 0)), 0) / bytes.length
    assert.ok(distance(kept) < 0.3 * distance(changed), `${distance(kept)}, ${distance(changed)}`)
  })

  it('streams partial images and the whole one', async () => {
    const params = { prompt: content, magicmix, stream: true, partial_images: 2 }
    const events = []
    const stream = await openai.images.generate(
      params as unknown as ImageGenerateParams & { stream: true },
    )
    for await (const event of stream) events.push(event)
    assert.deepEqual(
      events.map(({ type }) => type),
      [
        'image_generation.partial_image',
        'image_generation.partial_image',
        'image_generation.completed',
      ],
    )
    const indices = events.map(
      (event) => 'partial_image_index' in event && event.partial_image_index,
    )
    assert.deepEqual(indices, [0, 1, false])
    const last = Buffer.from(events.at(-1)?.b64_json ?? '', 'base64')
    const [own] = pictures(await generate({ prompt: content, magicmix }))
    const pixels = (png: Buffer | undefined) => sharp(png).raw().toBuffer()
    assert.deepEqual(await pixels(last), await pixels(own))
    const partial = Buffer.from(events[0]?.b64_json ?? '', 'base64')
    assert.equal((await sharp(partial).metadata()).format, 'png')
  })

  it('cancels the mix of a client that hangs up', async () => {
    const { signal, abort } = aborter()
    const params = { prompt: content, magicmix: { steps: 150, width: 256, height: 256 } }
    const made = openai.images.generate(params as unknown as ImageGenerateParams, { signal })
    while (place.mixer.queue.running === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    abort()
    await assert.rejects(Promise.resolve(made))
    while (place.mixer.queue.running > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  })

  it('lists the models', async () => {
    const models = []
    for await (const { id, object } of openai.models.list()) models.push([id, object])
    assert.deepEqual(models, [['default', 'model']])
    assert.equal((await generate({ prompt: content, model: 'default', magicmix })).data?.length, 1)
  })

  it('gets errors in the form that it knows', async () => {
    const wrong = clientWith('other')
    const strange = await failure(wrong.images.generate({ prompt: 'a' }))
    assert.deepEqual([strange.status, strange.code], [401, 'UNAUTHORIZED'])
    for (const [params, status, code, param] of [
      [{ prompt: content, model: 'dall-e-3' }, 404, 'MODEL_NOT_FOUND', 'model'],
      [{ prompt: content, size: '7x7' }, 400, 'INVALID_ARGUMENT', 'width'],
      [{ prompt: content, size: 'large' }, 400, 'INVALID_ARGUMENT', 'size'],
      [{ prompt: content, response_format: 'url' }, 400, 'INVALID_ARGUMENT', 'response_format'],
      [{ prompt: content, quality: 'high' }, 400, 'INVALID_ARGUMENT', 'quality'],
      [{ prompt: content, style: 'vivid' }, 400, 'INVALID_ARGUMENT', 'style'],
      [{ prompt: content, stepz: 3 }, 400, 'UNKNOWN_OPTION', 'stepz'],
      [{ prompt: content, n: 11 }, 400, 'INVALID_ARGUMENT', 'n'],
      [{ prompt: content, partial_images: 2 }, 400, 'INVALID_ARGUMENT', 'partial_images'],
      [{ prompt: content, magicmix: { nu: 2 } }, 400, 'INVALID_ARGUMENT', 'nu'],
      [{ prompt: content, magicmix: { layout: '/etc/passwd' } }, 400, 'INVALID_ARGUMENT', 'layout'],
      [{ size: '128x128' }, 400, 'INVALID_ARGUMENT', null],
    ] as const) {
      const error = await failure(generate(params))
      assert.deepEqual([error.status, error.code], [status, code], JSON.stringify(params))
      if (param !== null) assert.equal(error.param, param)
      assert.equal(error.type, 'invalid_request_error')
    }
    const noPicture = await toFile(Buffer.from('no picture'), 'a.png')
    const damaged = await failure(edit({ image: noPicture, prompt: content }))
    assert.deepEqual([damaged.status, damaged.code], [400, 'PICTURE_UNREADABLE'])
  })
})

async function failure(promise: Promise<unknown>): Promise<APIError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof APIError) return error
    throw error
  }
  throw new Error('it did not fail')
}

function aborter() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
