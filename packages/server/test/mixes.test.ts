/** /v1/mixes, from a request to a picture. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { readRecipe } from 'magicmix'
import sharp from 'sharp'

import {
  Client,
  type JsonJob,
  type Served,
  eventsIn,
  long,
  served,
  small,
} from './support/served.js'

const heart = path.join(__dirname, '..', '..', '..', 'models', 'layouts', 'heart.png')

describe('/v1/mixes', () => {
  let place: Served & { end(): Promise<void> }
  let client: Client
  before(async () => {
    place = await served({ heartbeat: 50 })
    client = new Client(place.address)
  })
  after(() => place.end())

  it('takes a request, tells where it is, and gives the picture that mix gives', async () => {
    const { status, headers, body } = await client.send<JsonJob>('POST', '/v1/mixes', small)
    assert.equal(status, 202)
    assert.equal(headers.get('location'), `/v1/mixes/${body.id}`)
    const job = await client.finish(body)
    assert.equal(job.status, 'completed')
    assert.equal(job.result?.seed, 7)

    const { response, bytes } = await client.picture(`/v1/mixes/${body.id}/picture`)
    assert.equal(response.headers.get('content-type'), 'image/png')
    const own = await place.mixer.mix(small)
    assert.deepEqual(bytes, await own.toBuffer({ format: 'png', recipe: true }))
    assert.deepEqual((await readRecipe(bytes)).request.content, small.content)
    assert.deepEqual((job.result?.recipe as { request: object }).request, own.recipe.request)
  })

  it('gives the picture in the format that Accept asks for, with its recipe', async () => {
    const { id } = await client.finish(await client.submit('/v1/mixes', small))
    for (const [accept, format] of [
      ['image/webp', 'webp'],
      ['image/jpeg', 'jpeg'],
      ['image/avif,image/webp;q=0.8,image/png;q=0.9', 'png'],
      ['image/avif,image/webp,*/*;q=0.8', 'webp'],
      ['text/html, */*;q=0.1', 'png'],
    ] as const) {
      const { response, bytes } = await client.picture(`/v1/mixes/${id}/picture`, accept)
      assert.equal(response.headers.get('content-type'), `image/${format}`, accept)
      assert.equal((await sharp(bytes).metadata()).format, format)
      assert.equal((await readRecipe(bytes)).request.seed, 7)
      const etag = response.headers.get('etag') ?? ''
      const known = await client.send('GET', `/v1/mixes/${id}/picture`, undefined, {
        ...{ accept, 'if-none-match': etag },
      })
      assert.equal(known.status, 304)
      assert.equal(known.headers.get('etag'), etag)
    }
    const none = await client.send('GET', `/v1/mixes/${id}/picture`, undefined, {
      accept: 'image/png;q=0, image/avif',
    })
    assert.equal(none.status, 406)
  })

  it('takes a picture in base64 and as a part, and makes the same of both', async () => {
    const file = await readFile(heart)
    const request = { content: small.content, steps: 4, seed: 3 }
    const form = new FormData()
    form.set('layout', new Blob([file]), 'heart.png')
    form.set('content', small.content)
    form.set('steps', '4')
    form.set('request', JSON.stringify({ seed: 3 }))
    const pictures = []
    for (const body of [{ ...request, layout: { bytes: file.toString('base64') } }, form]) {
      const job = await client.finish(await client.submit('/v1/mixes', body))
      assert.equal(job.status, 'completed')
      pictures.push(await client.picture(job.links.picture ?? ''))
    }
    const own = await place.mixer.mix({ ...request, layout: file })
    for (const { bytes } of pictures) {
      assert.deepEqual(await sharp(bytes).raw().toBuffer(), Buffer.from(own.data))
    }
  })

  it('streams progress, previews and the end, and goes on where a client was', async () => {
    const { links } = await client.submit('/v1/mixes', { ...small, previewEvery: 1 })
    const events = await client.events(links.events ?? '')
    const names = [...new Set(events.map(({ event }) => event))]
    assert.deepEqual(names.sort(), ['end', 'preview', 'progress'])
    assert.deepEqual(events.at(-1)?.data, { status: 'completed', error: null })
    const ids = events.map(({ id }) => id)
    assert.deepEqual(
      ids,
      [...ids].sort((a, b) => a - b),
    )
    const stages = [...new Set(events.map(({ data }) => data.stage))].filter(Boolean)
    assert.deepEqual(stages, ['encode', 'layout', 'content', 'decode'])
    const preview = events.find(({ event }) => event === 'preview')?.data
    const { width } = await sharp(Buffer.from(String(preview?.base64), 'base64')).metadata()
    assert.equal(width, 16)

    const again = await client.events(links.events ?? '')
    const previews = again.filter(({ event }) => event === 'preview')
    assert.equal(previews.length, 1, 'of previews only the latest is kept')
    const seen = again[3]?.id ?? 0
    const rest = await client.events(links.events ?? '', seen)
    assert.deepEqual(rest, again.slice(4))
    assert.deepEqual(await client.events(links.events ?? '', again.at(-1)?.id), [])
    // An id of another life of the server.
    assert.deepEqual(await client.events(links.events ?? '', 1e6), again)
  })

  it('sends a comment where nothing happens', async () => {
    const first = await client.submit('/v1/mixes', long)
    const second = await client.submit('/v1/mixes', small)
    const { signal, abort } = aborter()
    const response = await fetch(place.address + second.links.events, { signal })
    let text = ''
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString()
      if (text.includes(': still here')) break
    }
    abort()
    assert.deepEqual(eventsIn(text)[0]?.data, { stage: 'queued', position: 1 })
    await client.send('DELETE', first.links.self ?? '')
    await client.send('DELETE', second.links.self ?? '')
  })

  it('tells the place of a job that waits, and cancels both kinds', async () => {
    const running = await client.submit('/v1/mixes', long)
    const waiting = await client.submit('/v1/mixes', small)
    const last = await client.submit('/v1/mixes', small)
    assert.deepEqual([running.status, waiting.status, waiting.position], ['running', 'queued', 1])
    assert.equal(last.position, 2)

    const cancelled = await client.send<JsonJob>('POST', `${waiting.links.self}/cancel`)
    assert.deepEqual([cancelled.status, cancelled.body.status], [202, 'cancelled'])
    assert.equal((await client.send<JsonJob>('GET', last.links.self ?? '')).body.position, 1)
    assert.equal((await client.send('GET', waiting.links.picture ?? '')).status, 409)

    assert.equal((await client.send('POST', `${running.links.self}/cancel`)).status, 202)
    assert.equal((await client.finish(running)).status, 'cancelled')
    assert.equal((await client.finish(last)).status, 'completed')
    const late = await client.send('POST', `${last.links.self}/cancel`)
    assert.deepEqual([late.status, late.body.code], [409, 'CONFLICT'])
  })

  it('lets the urgent go first', async () => {
    const running = await client.submit('/v1/mixes', long)
    const usual = await client.submit('/v1/mixes', small)
    const urgent = await client.send<JsonJob>('POST', '/v1/mixes', small, { 'job-priority': '0' })
    assert.equal(urgent.body.position, 1)
    for (const { links } of [running, usual, urgent.body]) {
      await client.send('DELETE', links.self ?? '')
    }
    for (const priority of ['8', '-1', '1.5', 'high']) {
      const wrong = await client.send('POST', '/v1/mixes', small, { 'job-priority': priority })
      assert.deepEqual([wrong.status, wrong.body.code], [422, 'INVALID_ARGUMENT'])
    }
  })

  it('forgets what is deleted, running or not', async () => {
    const running = await client.submit('/v1/mixes', long)
    assert.equal((await client.send('DELETE', running.links.self ?? '')).status, 204)
    const { status, body } = await client.send('GET', running.links.self ?? '')
    assert.deepEqual([status, body.code], [410, 'GONE'])
    assert.equal((await client.send('GET', running.links.events ?? '')).status, 410)
    assert.equal((await client.send('DELETE', running.links.self ?? '')).status, 410)
    assert.equal(place.mixer.queue.running, 0)
  })

  it('gives the same job for the same Idempotency-Key, and refuses another body', async () => {
    const key = { 'idempotency-key': 'abc' }
    const [one, two] = await Promise.all(
      [1, 2].map(() => client.send<JsonJob>('POST', '/v1/mixes', small, key)),
    )
    assert.equal(one?.status, 202)
    assert.equal(one.body.id, two?.body.id)
    const other = await client.send('POST', '/v1/mixes', { ...small, seed: 8 }, key)
    assert.equal(other.status, 422)
    const without = await client.send<JsonJob>('POST', '/v1/mixes', small)
    assert.notEqual(without.body.id, one.body.id)
    const wrong = await client.send('POST', '/v1/mixes', small, { 'idempotency-key': 'ä' })
    assert.equal(wrong.status, 422)
  })

  it('takes no body for what has none, whatever is said of its type', async () => {
    const { links } = await client.submit('/v1/mixes', long)
    const json = { 'content-type': 'application/json' }
    const cancelled = await client.send('POST', `${links.self}/cancel`, undefined, json)
    assert.equal(cancelled.status, 202)
    assert.equal((await client.send('DELETE', links.self ?? '', undefined, json)).status, 204)
    assert.equal((await client.send('POST', '/v1/mixes', undefined, json)).status, 400)
    assert.equal((await client.send('POST', '/v1/mixes')).status, 400)
  })

  it('says of a refused request what is wrong with it', async () => {
    for (const [body, code, detail] of [
      [{ ...small, nu: 2 }, 'INVALID_ARGUMENT', /between 0 and 1 for nu/],
      [{ ...small, stepz: 2 }, 'UNKNOWN_OPTION', /did you mean 'steps'/],
      [{ ...small, content: 'cat '.repeat(80) }, 'PROMPT_TOO_LONG', /tokens/],
      [{ ...small, attention: { dog: 1.2 } }, 'PHRASE_NOT_FOUND', /dog/],
      [{ ...small, layout: { bytes: 'AAAA' } }, 'PICTURE_UNREADABLE', /none of JPEG/],
      [{ ...small, model: 'other' }, 'MODEL_NOT_FOUND', /there are default/],
      [{ ...small, trace: true }, 'INVALID_ARGUMENT', /trace is not offered/],
      [{ ...small, steps: 151 }, 'INVALID_ARGUMENT', /At most 150 steps/],
      [{ ...small, width: 4096, height: 4096 }, 'INVALID_ARGUMENT', /larger than/],
      [[], 'INVALID_ARGUMENT', /an object/],
    ] as const) {
      const answer = await client.send('POST', '/v1/mixes', body)
      assert.deepEqual([answer.status, answer.body.code], [422, code])
      assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
      assert.match(String(answer.body.detail), detail)
    }
  })
})

function aborter() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
