/** What the server says of itself. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { requestSchema } from 'magicmix'
import { limitRows } from 'magicmix-server'

import { Client, type Served, served, small } from './support/served.js'

describe('what a server says of itself', () => {
  let place: Served & { end(): Promise<void> }
  let client: Client
  before(async () => {
    place = await served({ limits: { steps: 20 } })
    client = new Client(place.address)
  })
  after(() => place.end())

  it('tokens, as the mixer cuts them', async () => {
    const text = 'a photorealistic corgi'
    const { body } = await client.send('POST', '/v1/tokenize', { text })
    assert.deepEqual(body, { tokens: place.mixer.tokenize(text), fits: true, maxTokens: 77 })
    const long = await client.send('POST', '/v1/tokenize', { text: 'cat '.repeat(80) })
    assert.equal(long.body.fits, false)
    const longer = await client.send('POST', '/v1/tokenize', { text: 'cat '.repeat(300) })
    assert.deepEqual([longer.status, longer.body.code], [422, 'PROMPT_TOO_LONG'])
  })

  it('the model', async () => {
    const { body } = await client.send<{ data: Record<string, unknown>[] }>('GET', '/v1/models')
    const [model] = body.data
    assert.deepEqual([model?.id, model?.isLoaded], ['default', true])
    const { path: _, ...info } = JSON.parse(JSON.stringify(place.mixer.model)) as { path?: string }
    assert.deepEqual(model?.info, info)
  })

  it('limits and schemas, in which nothing names a file', async () => {
    const { body } = await client.send('GET', '/v1/capabilities')
    assert.equal((body.limits as { steps: number }).steps, 20)
    const { mix } = body.requests as { mix: { properties: Record<string, object> } }
    assert.ok(!JSON.stringify(body.requests).includes('names-file'))
    const own = requestSchema.properties as Record<string, object>
    const offered = Object.keys(mix.properties).filter((name) => name !== 'model')
    assert.deepEqual(
      offered,
      Object.keys(own).filter((name) => name !== 'trace'),
    )
    assert.deepEqual(mix.properties.nu, own.nu)
    const { layout } = mix.properties as { layout: { anyOf: { required: string[] }[] } }
    assert.deepEqual(
      layout.anyOf.map(({ required }) => required[0]),
      ['prompt', 'bytes', 'data'],
    )
  })

  it('figures for Prometheus', async () => {
    await client.finish(await client.submit('/v1/mixes', small))
    const { headers, body } = await client.send<{ text: string }>('GET', '/metrics')
    assert.match(headers.get('content-type') ?? '', /^text\/plain/)
    for (const line of [
      'magicmix_jobs_finished_total{kind="mix",status="completed",model="default"} 1',
      'magicmix_jobs{what="kept"} 1',
      `magicmix_model_weights_bytes{model="default"} ${place.mixer.model.memory.weights}`,
      'magicmix_http_request_seconds_count{method="POST",route="/v1/mixes",status="202"} 1',
    ]) {
      assert.ok(body.text.includes(line), line)
    }
  })

  it('its limits, as the README has them', async () => {
    const readme = await readFile(path.join(__dirname, '..', 'README.md'), 'utf8')
    const cells = readme.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
    const rows = cells.filter(([, name = '']) => name.replaceAll('`', '') in limitRows)
    assert.deepEqual(
      rows.map(([, name, byDefault, help]) => [name, byDefault, help]),
      Object.entries(limitRows).map(([name, row]) => [`\`${name}\``, `${row.default}`, row.help]),
    )
  })
})
