/** Models by name: loaded on demand, unloaded where memory is short. */
import assert from 'node:assert/strict'
import path from 'node:path'

import { type MagicMix } from 'magicmix'
import { type MagicMixServer, createServer } from 'magicmix-server'

import { Client, type JsonJob, small } from './support/served.js'

const inTheBox = path.join(__dirname, '..', '..', '..', 'models', 'world-128')
const load = { model: inTheBox, device: 'cpu', threads: 1 } as const

interface ModelRow {
  id: string
  isLoaded: boolean
  isDefault: boolean
  info: MagicMix['model'] | null
}

describe('models by name', () => {
  let server: MagicMixServer
  let client: Client
  async function start(options: Parameters<typeof createServer>[0]): Promise<void> {
    server = await createServer(options)
    client = new Client(await server.listen())
  }
  afterEach(() => server.close())

  const rows = async () => (await client.send<{ data: ModelRow[] }>('GET', '/v1/models')).body.data
  const loaded = async () => (await rows()).filter(({ isLoaded }) => isLoaded).map(({ id }) => id)
  const mix = async (model: string): Promise<JsonJob> =>
    client.finish(await client.submit('/v1/mixes', { ...small, model }))

  it('are loaded when they are asked for, and the least used makes room', async () => {
    await start({ models: { one: load, two: { ...load, precision: 'f32' }, three: load } })
    assert.deepEqual(await loaded(), [])
    const [first] = await rows()
    assert.deepEqual([first?.isDefault, first?.info], [true, null])
    for (const name of ['one', 'two']) assert.equal((await mix(name)).status, 'completed')
    assert.deepEqual(await loaded(), ['one', 'two'])
    const described = await rows()
    assert.equal(described[1]?.info?.precision, 'f32')
    assert.ok(!JSON.stringify(described).includes(inTheBox), 'clients need not know where it lies')
    const bytes = described.map(({ info }) => info?.memory.weights ?? 0)
    await server.close()

    // Room for one of each.
    const memory = (bytes[0] ?? 0) + (bytes[1] ?? 0)
    const models = { one: load, two: { ...load, precision: 'f32' as const }, three: load }
    await start({ memory, models })
    for (const name of ['one', 'two', 'one', 'three']) await mix(name)
    assert.deepEqual(await loaded(), ['one', 'three'])
    const { text } = (await client.send<{ text: string }>('GET', '/metrics')).body
    assert.match(text, /magicmix_model_loads_total{model="three"} 1/)
  })

  it('are unloaded once they are idle, if there was no other way', async () => {
    await start({ models: { one: load, two: load }, memory: 1 })
    const long = { ...small, model: 'one', steps: 60 }
    const first = await client.submit('/v1/mixes', long)
    const second = await client.submit('/v1/mixes', { ...small, model: 'two' })
    for (const job of [first, second]) {
      assert.equal((await client.finish(job)).status, 'completed')
    }
    assert.equal((await loaded()).length, 1)
  })

  it('that are being loaded do not keep a job that is cancelled', async () => {
    await start({ models: { one: load } })
    const job = await client.submit('/v1/mixes', small)
    await client.send('POST', `${job.links.self}/cancel`)
    assert.equal((await client.finish(job)).status, 'cancelled')
    assert.equal((await mix('one')).status, 'completed')
  })

  it('are checked as far as that goes before they are loaded', async () => {
    await start({ models: { one: load } })
    const bad = await client.send('POST', '/v1/mixes', { ...small, nu: 3 })
    assert.deepEqual([bad.status, bad.body.code], [422, 'INVALID_ARGUMENT'])
    const sweep = await client.send('POST', '/v1/sweeps', { ...small, vary: { nu: 3 } })
    assert.equal(sweep.status, 422)
    const long = await client.send<JsonJob>('POST', '/v1/mixes', {
      ...{ ...small, content: 'cat '.repeat(80) },
    })
    assert.equal(long.status, 202)
    assert.equal((await client.finish(long.body)).error?.code, 'PROMPT_TOO_LONG')
    const tokens = await client.send('POST', '/v1/tokenize', { text: 'a cat', model: 'one' })
    assert.equal(tokens.status, 200)
    const other = await client.send('POST', '/v1/tokenize', { text: 'a cat', model: 'no' })
    assert.deepEqual([other.status, other.body.code], [422, 'MODEL_NOT_FOUND'])
  })

  it('that cannot be loaded fail the job, and do not say where they should be', async () => {
    await start({ models: { one: { model: '/nowhere/secret.safetensors' } } })
    const { status, error } = await mix('one')
    assert.deepEqual([status, error?.code], ['failed', 'MODEL_NOT_FOUND'])
    assert.ok(!JSON.stringify(error).includes('secret'))
    const tokens = await client.send('POST', '/v1/tokenize', { text: 'a cat' })
    assert.equal(tokens.status, 503)
    assert.ok(!JSON.stringify(tokens.body).includes('secret'))
  })

  it('have LoRAs by the names of the server alone', async () => {
    const file = path.join(inTheBox, '..', 'world-128-lcm', 'pytorch_lora_weights.safetensors')
    await start({ models: { one: load }, loras: { lcm: file } })
    const request = { ...small, sampler: 'lcm', steps: 4, kMax: 1, kMin: 0 }
    const withLora = { ...request, loras: [{ file: 'lcm', strength: 0.5 }] }
    for (let time = 0; time < 2; time++) {
      const job = await client.finish(await client.submit('/v1/mixes', withLora))
      assert.equal(job.status, 'completed', JSON.stringify(job.error))
      const { recipe } = job.result as { recipe: { model: { loras: { name: string }[] } } }
      assert.equal(recipe.model.loras[0]?.name, path.basename(file))
    }
    const named = await client.send('POST', '/v1/mixes', { ...request, loras: [{ file }] })
    assert.equal(named.status, 422)
    const { body } = await client.send('GET', '/v1/capabilities')
    assert.deepEqual(body.loras, ['lcm'])
  })
})
