/** /v1/sweeps */
import assert from 'node:assert/strict'

import { readRecipe } from 'magicmix'
import sharp from 'sharp'

import { Client, type JsonJob, type Served, served, small } from './support/served.js'

describe('/v1/sweeps', () => {
  let place: Served & { end(): Promise<void> }
  let client: Client
  before(async () => {
    place = await served({ limits: { cells: 6 } })
    client = new Client(place.address)
  })
  after(() => place.end())

  const request = { ...small, vary: { nu: [0.3, 0.9], kMax: { from: 0.5, to: 0.75, count: 2 } } }

  it('mixes every cell, draws the sheet, and tells of each', async () => {
    const { status, headers, body } = await client.send<JsonJob>('POST', '/v1/sweeps', request)
    assert.equal(status, 202)
    assert.equal(headers.get('location'), `/v1/sweeps/${body.id}`)
    const events = await client.events(body.links.events ?? '')
    const told = events.filter(({ event }) => event === 'cell').map(({ data }) => data.index)
    assert.deepEqual(told.sort(), [0, 1, 2, 3])
    const { result } = (await client.send<JsonJob>('GET', body.links.self ?? '')).body
    const cells = result?.cells as { index: number; at: object }[]
    assert.deepEqual(cells[3]?.at, { nu: 0.9, kMax: 0.75 })
    assert.equal((result?.plan as { cells: number }).cells, 4)

    const { bytes } = await client.picture(`${body.links.self}/cells/3/picture`)
    const own = await place.mixer.mix({ ...small, nu: 0.9, kMax: 0.75 })
    assert.deepEqual(bytes, await own.toBuffer({ format: 'png', recipe: true }))
    const webp = await client.picture(`${body.links.self}/cells/3/picture`, 'image/webp')
    assert.equal((await readRecipe(webp.bytes)).request.nu, 0.9)

    const sheet = await client.picture(body.links.sheet ?? '', 'image/jpeg')
    const { width = 0, height = 0, format } = await sharp(sheet.bytes).metadata()
    assert.ok(width > 256 && height > 256 && format === 'jpeg')
    assert.equal((await client.picture(`${body.links.self}/cells/4/picture`)).response.status, 404)
    assert.equal((await client.picture(`${body.links.self}/cells/-1/picture`)).response.status, 404)
    // A sweep is no mix.
    assert.equal((await client.send('GET', `/v1/mixes/${body.id}`)).status, 404)
  })

  it('keeps the sheet of what was there when it was cancelled', async () => {
    const sweep = await client.submit('/v1/sweeps', {
      ...{ ...small, steps: 60 },
      vary: { nu: { from: 0, to: 0.5, step: 0.1 } },
    })
    const leaving = new AbortController()
    const { signal } = leaving
    const response = await fetch(place.address + sweep.links.events, { signal })
    let text = ''
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString()
      if (text.includes('event: cell')) break
    }
    leaving.abort()
    await client.send('POST', `${sweep.links.self}/cancel`)
    const { status, result } = await client.finish(sweep)
    assert.equal(status, 'cancelled')
    assert.ok((result?.cells as object[]).length >= 1)
    const sheet = await client.picture(sweep.links.sheet ?? '')
    assert.equal(sheet.response.status, 200)
  })

  it('lets mixes pass while it runs, and is cancelled', async () => {
    const sweep = await client.submit('/v1/sweeps', {
      ...{ ...small, steps: 150, width: 256, height: 256 },
      vary: { nu: [0.1, 0.9] },
    })
    assert.equal((await client.picture(sweep.links.sheet ?? '')).response.status, 409)
    const mix = await client.submit('/v1/mixes', small)
    assert.equal(mix.status, 'running')
    await client.send('POST', `${sweep.links.self}/cancel`)
    assert.equal((await client.finish(sweep)).status, 'cancelled')
    assert.equal((await client.finish(mix)).status, 'completed')
  })

  it('says of a refused request what is wrong with it', async () => {
    for (const [vary, code, detail] of [
      [undefined, 'INVALID_ARGUMENT', /vary/],
      [{ nu: [0.1, 2] }, 'INVALID_ARGUMENT', /vary\.nu\[1\]/],
      [{ nuu: [0.1] }, 'UNKNOWN_OPTION', /did you mean 'nu'/],
      [{ seed: { from: 1, to: 9, step: 1 } }, 'INVALID_ARGUMENT', /9 cells, and at most 6/],
      [{ layout: ['/etc/passwd'] }, 'INVALID_ARGUMENT', /vary\.layout is not in a form/],
      [{ loras: [[{ file: '/etc/passwd' }]] }, 'INVALID_ARGUMENT', /vary\.loras is not in a form/],
      [{ steps: [4, 151] }, 'INVALID_ARGUMENT', /At most 150 steps/],
    ] as const) {
      const answer = await client.send('POST', '/v1/sweeps', { ...small, vary })
      assert.deepEqual([answer.status, answer.body.code], [422, code])
      assert.match(String(answer.body.detail), detail)
    }
    const folder = await client.send('POST', '/v1/sweeps', { ...request, cells: '/tmp/cells' })
    assert.deepEqual([folder.status, folder.body.detail], [422, 'cells is not offered here'])
    const batch = await client.send('POST', '/v1/sweeps', { ...request, batch: 2 })
    assert.deepEqual([batch.status, batch.body.detail], [422, 'batch is not offered here'])
  })
})
