/** `magicmix serve --redis` and `magicmix worker`: processes that die, a Redis that goes away, and no job lost by it. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { MagicMix } from 'magicmix'
import { type Limits, type MagicMixServer, createServer } from 'magicmix-server'

import { RedisServer, needsRedis } from './support/redis.js'
import { Client, type Event, type JsonJob, eventsIn, long, small } from './support/served.js'

const main = path.join(__dirname, '..', '..', '..', 'dist', 'cli', 'main.js')

interface OpenApi {
  paths: Record<
    string,
    { get?: { responses: Record<string, { content: Record<string, object> }> } }
  >
}

describe('magicmix worker', function () {
  needsRedis(this)
  let redis: RedisServer
  let folder: string
  let prefixes = 0
  /** Of the test. */
  let options: { url: string; prefix: string; lockSeconds: number }
  let config: string
  const children: ChildProcess[] = []
  const servers: MagicMixServer[] = []

  before(async () => {
    redis = await RedisServer.start()
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-workers-'))
  })
  beforeEach(async () => {
    options = { url: redis.url, prefix: `test-${++prefixes}`, lockSeconds: 2 }
    config = path.join(folder, `${options.prefix}.yaml`)
    await writeFile(config, JSON.stringify({ redis: options, log: 'error' }))
  })
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close()
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
  after(async () => {
    await redis?.end()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  /** A command, and its first line of output. */
  async function start(name: 'serve' | 'worker', args: string[] = []) {
    const child = spawn(process.execPath, [main, name, '--config', config, ...args], {
      env: { ...process.env, MAGICMIX_DEVICE: 'cpu' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    const exit = once(child, 'exit')
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const { value = '' } = (await lines.next()) as { value?: string }
    return { child, line: value, exit }
  }

  const worker = () => start('worker', ['--threads', '1'])

  async function serve(limits: Partial<Limits> = {}): Promise<Client> {
    const server = await createServer({ redis: options, limits: { ratePerMinute: 1e6, ...limits } })
    servers.push(server)
    return new Client(await server.listen())
  }

  /** Once both have shown themselves. */
  async function crewOf(client: Client, count: number): Promise<Card[]> {
    for (;;) {
      const { body } = await client.send<{ workers: Card[] }>('GET', '/v1/workers')
      if (body.workers.length === count) return body.workers
      await briefly()
    }
  }

  /** The one that works on a job, once it has taken some steps. */
  async function workerOn(client: Client, job: JsonJob, crew: { child: ChildProcess }[]) {
    for (;;) {
      const { body } = await client.send<JsonJob>('GET', job.links.self ?? '')
      assert.notEqual(body.status, 'completed', 'the job ended before anybody saw who had it')
      const { body: seen } = await client.send<{ workers: Card[] }>('GET', '/v1/workers')
      const card = seen.workers.find(({ running }) => running.includes(job.id))
      const [child] = crew.map(({ child }) => child).filter(({ pid }) => pid === card?.pid)
      if (child && body.progress?.stage === 'content' && Number(body.progress.step) > 1)
        return child
      await briefly()
    }
  }

  const slower = { ...small, steps: 40 }

  it('loses no job, and ends none twice, when one is killed in the middle', async () => {
    const client = await serve()
    const crew = await Promise.all([worker(), worker()])
    assert.equal(crew[0]?.line, 'magicmix works for world-128')
    const cards = await crewOf(client, 2)
    assert.deepEqual(cards[0]?.models, ['world-128'])
    const requests = [1, 2, 3, 4].map((seed) => ({ ...slower, seed }))
    const jobs = await Promise.all(requests.map((each) => client.submit('/v1/mixes', each)))
    const streams = jobs.map(({ links }) => client.events(links.events ?? ''))
    const [first] = jobs
    assert.ok(first)
    const child = await workerOn(client, first, crew)
    child.kill('SIGKILL')

    for (const [i, stream] of streams.entries()) {
      const ends = (await stream).filter(({ event }) => event === 'end')
      assert.deepEqual(
        ends.map(({ data }) => data),
        [{ status: 'completed', error: null }],
        `job ${i}`,
      )
    }
    const mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
    for (const [i, { links }] of jobs.entries()) {
      const own = await mixer.mix(requests[i] as typeof small)
      const { bytes } = await client.picture(links.picture ?? '')
      assert.deepEqual(bytes, await own.toBuffer({ format: 'png', recipe: true }))
    }
    await mixer.dispose()
    const { body } = await client.send<{ text: string }>('GET', '/metrics')
    assert.match(
      body.text,
      /jobs_finished_total\{kind="mix",status="completed",model="world-128"\} 4/,
    )
    assert.match(body.text, /magicmix_jobs\{what="queued"\} 0/)
    assert.match(body.text, /magicmix_jobs\{what="running"\} 0/)
    assert.match(body.text, /magicmix_jobs\{what="kept"\} 4/)
    await crewOf(client, 1)
  })

  it('takes nothing from one that was away, and comes back with a job that another has', async () => {
    const client = await serve()
    const frozen = await worker()
    const job = await client.submit('/v1/mixes', slower)
    const stream = client.events(job.links.events ?? '')
    const child = await workerOn(client, job, [frozen])
    child.kill('SIGSTOP')
    await worker()
    const events = await stream
    assert.equal(events.filter(({ event }) => event === 'end').length, 1)
    const { bytes } = await client.picture(job.links.picture ?? '')
    child.kill('SIGCONT')
    await crewOf(client, 2) // it is there again
    // Both work on.
    const more = await Promise.all(
      [1, 2, 3].map((seed) => client.submit('/v1/mixes', { ...small, seed })),
    )
    for (const each of more) assert.equal((await client.finish(each)).status, 'completed')
    assert.deepEqual((await client.picture(job.links.picture ?? '')).bytes, bytes)
    assert.deepEqual(await client.events(job.links.events ?? ''), events)
  })

  it('cancels in another process within two steps', async () => {
    const client = await serve()
    await worker()
    const job = await client.submit('/v1/mixes', long)
    const response = await fetch(client.address + job.links.events)
    let text = ''
    let atCancel: number | undefined
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString()
      if (atCancel !== undefined || stepIn(text) < 3) continue
      assert.equal((await client.send('POST', `${job.links.self}/cancel`)).status, 202)
      const { body } = await client.send<JsonJob>('GET', job.links.self ?? '')
      atCancel = Number(body.progress?.step)
    }
    const events = eventsIn(text)
    assert.deepEqual(events.at(-1)?.data, { status: 'cancelled', error: null })
    assert.ok(stepIn(text) <= (atCancel ?? 0) + 2, `${stepIn(text)} after ${atCancel}`)
    assert.equal((await client.finish(await client.submit('/v1/mixes', small))).status, 'completed')
  })

  it('goes on when Redis was away', async () => {
    const client = await serve()
    await worker()
    await crewOf(client, 1)
    const jobs = await Promise.all(
      [1, 2, 3].map((seed) => client.submit('/v1/mixes', { ...slower, seed })),
    )
    const streams = jobs.map(({ links }) => client.events(links.events ?? ''))
    while (stepOf((await client.send<JsonJob>('GET', jobs[0]?.links.self ?? '')).body) < 2) {
      await briefly()
    }
    const tokenize = (by: Client) => by.send('POST', '/v1/tokenize', { text: 'a cat' })
    const experienced = await serve()
    await crewOf(experienced, 1)
    assert.equal((await tokenize(experienced)).status, 200)
    await redis.kill()
    const all = [client.send('POST', '/v1/mixes', small), tokenize(client), tokenize(experienced)]
    for (const refused of await Promise.all(all)) {
      assert.deepEqual([refused.status, refused.body.code], [503, 'QUEUE_UNAVAILABLE'])
      assert.equal(refused.headers.get('retry-after'), '5')
    }
    assert.equal((await client.send('GET', '/health/live')).status, 200)
    const { body: api } = await client.send<OpenApi>('GET', '/openapi.json')
    for (const [url, { get }] of Object.entries(api.paths)) {
      if (!get || url.includes('{')) continue
      const { status, headers } = await client.send('GET', url)
      const [type = ''] = headers.get('content-type')?.split(';') ?? []
      assert.ok(get.responses[status]?.content[type], `${url} answers ${status}, ${type}`)
    }
    await redis.begin()
    for (const stream of streams) {
      const ends = (await stream).filter(({ event }) => event === 'end')
      assert.deepEqual(
        ends.map(({ data }) => data.status),
        ['completed'],
      )
    }
  })

  it('ends when it is told to, and so does its server: the rest waits for others', async () => {
    const served = await start('serve', ['--port', '0'])
    const address = /http:\S+/.exec(served.line)?.[0] ?? ''
    const client = new Client(address)
    const none = await client.send('POST', '/v1/mixes', small)
    assert.deepEqual([none.status, none.body.code], [503, 'NO_WORKER'])
    const first = await worker()
    await crewOf(client, 1)
    const tokens = await client.send<{ tokens: { text: string }[] }>('POST', '/v1/tokenize', {
      text: 'a corgi',
    })
    assert.equal(tokens.body.tokens[2]?.text, 'corgi')
    const running = await client.submit('/v1/mixes', slower)
    const waiting = await client.submit('/v1/mixes', { ...small, previewEvery: 1 })
    while (stepOf((await client.send<JsonJob>('GET', running.links.self ?? '')).body) < 1) {
      await briefly()
    }
    first.child.kill('SIGTERM')
    served.child.kill('SIGTERM')
    assert.deepEqual(await served.exit, [0, null])
    assert.deepEqual(await first.exit, [0, null])

    const other = await serve()
    const statusOf = async ({ links }: JsonJob) =>
      (await other.send<JsonJob>('GET', links.self ?? '')).body.status
    assert.deepEqual([await statusOf(running), await statusOf(waiting)], ['completed', 'queued'])
    await worker()
    const events: Event[] = await other.events(waiting.links.events ?? '')
    assert.equal(events.at(-1)?.data.status, 'completed')
    assert.equal(events.filter(({ event }) => event === 'preview').length > 0, true)
    const again = await other.events(waiting.links.events ?? '', events.at(-3)?.id)
    assert.deepEqual(again, events.slice(-2))
  })

  it('waits for Redis when it starts, until it is told to end; a server says that there is none', async () => {
    await writeFile(config, JSON.stringify({ redis: { ...options, url: 'redis://127.0.0.1:1' } }))
    const run = (name: string) => {
      const child = spawn(process.execPath, [main, name, '--config', config, '--log', 'warn'], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      children.push(child)
      return child
    }
    const waiting = run('worker')
    const complaint = await once(waiting.stderr, 'data')
    assert.match(String(complaint[0]), /ECONNREFUSED/)
    waiting.kill('SIGTERM')
    assert.deepEqual(await once(waiting, 'exit'), [0, null])
    const server = run('serve')
    let text = ''
    server.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
    assert.deepEqual(await once(server, 'exit'), [2, null])
    assert.match(text, /Redis at 127\.0\.0\.1:1 cannot be used: .*ECONNREFUSED/)
  })

  it('says what is wrong with how it was called', async () => {
    const child = spawn(process.execPath, [main, 'worker'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, MAGICMIX_REDIS: '' },
    })
    let complaint = ''
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
    assert.deepEqual(await once(child, 'exit'), [2, null])
    assert.match(complaint, /address of a Redis/)
  })
})

interface Card {
  pid: number
  models: string[]
  running: string[]
}

const briefly = () => new Promise((resolve) => setTimeout(resolve, 20))

const stepOf = ({ progress }: JsonJob) => Number(progress?.step ?? 0)

/** The latest step that these events tell of. */
function stepIn(text: string): number {
  const steps = eventsIn(text).filter(({ data }) => data.stage === 'content')
  return Number(steps.at(-1)?.data.step ?? 0)
}
