/** Many clients at once, and many mixes one after the other. Figures are printed, not judged. */
import assert from 'node:assert/strict'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import type { Job } from 'magicmix-server'

import { clientOf, mixRequest } from '../bench/mixing.js'
import { clients, loopDelayDuring } from '../bench/measure.js'
import { Client, type JsonJob, type Served, served } from './support/served.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

describe('load', function () {
  this.timeout(3_600_000)
  let place: Served & { end(): Promise<void> }
  let client: Client
  before(async () => {
    place = await served({ limits: { queue: 100, keptJobs: 250 } })
    client = new Client(place.address)
  })
  after(() => place.end())

  it('200 clients at once: all are answered, and the order is kept', async () => {
    const { address } = place
    const body = { ...mixRequest, steps: 2 }
    const { result, ...loop } = await loopDelayDuring(async () => {
      const task = { kind: 'burst', address, method: 'POST', path: '/v1/mixes', body } as const
      const answers = await clients({ ...task, clients: 200 })
      await clientOf(address).idle()
      return answers
    })
    console.log(`      event loop: ${JSON.stringify(loop)} ms`)
    const taken = result.filter(({ status }) => status === 202)
    const refused = result.filter(({ status }) => status === 429)
    assert.equal(taken.length + refused.length, 200)
    assert.ok(taken.length >= 101, `${taken.length} were taken`)
    assert.ok(refused.every(({ retryAfter }) => Number(retryAfter) > 0))

    const jobs = await Promise.all(
      taken.map(async ({ id }) => (await client.send<Job>('GET', `/v1/mixes/${id}`)).body),
    )
    assert.ok(jobs.every(({ status }) => status === 'completed'))
    const inOrder = [...jobs].sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1))
    const begun = inOrder.map(({ startedAt }) => startedAt ?? '')
    // Times have milliseconds, in which several may come.
    for (let i = 0; i < jobs.length; i++) {
      const earlier = inOrder.filter(({ createdAt }) => createdAt < (inOrder[i]?.createdAt ?? ''))
      assert.ok(earlier.every(({ startedAt }) => (startedAt ?? '') <= (begun[i] ?? '')))
    }
    assert.ok(loop.p99 < 1000, 'a server that does not answer for a second hangs')
  })

  it('memory is flat over many mixes, cancels and disconnects, and the next mix is the same', async () => {
    const mixes = Number(process.env.MAGICMIX_SOAK ?? 200)
    const golden = { ...mixRequest, steps: 6, seed: 1234 }
    const before = await clientOf(place.address).mix(golden)
    const heap: number[] = []
    const resident: number[] = []
    const random = seeded(1)
    for (let i = 0; i < mixes; i++) {
      if (i % Math.ceil(mixes / 10) === 0) {
        collectGarbage()
        const { heapUsed, external, rss } = process.memoryUsage()
        heap.push((heapUsed + external) / 2 ** 20)
        resident.push(rss / 2 ** 20)
      }
      await oneOfMany(i, random)
    }
    await clientOf(place.address).idle()
    collectGarbage()
    console.log(`      heap ${list(heap)} MiB, resident ${list(resident)} MiB`)
    // The first tenths fill what is kept: jobs and their results.
    const later = heap.slice(4)
    const growth = Math.max(...later.slice(-2)) - Math.max(...later.slice(0, 2))
    assert.ok(growth < 8, `the heap has grown by ${growth.toFixed(1)} MiB`)

    const after = await clientOf(place.address).mix(golden)
    assert.deepEqual(after.picture, before.picture)
    const direct = await place.mixer.mix(golden)
    assert.deepEqual(after.picture, await direct.toBuffer({ format: 'png', recipe: true }))
  })

  /** A mix that is finished, cancelled, deleted, or left alone by whoever watched it. */
  async function oneOfMany(seed: number, random: () => number): Promise<void> {
    const request = { ...mixRequest, seed, steps: 3, width: 64, height: 64, previewEvery: 1 }
    const job = await client.submit('/v1/mixes', request)
    const { self = '', events = '', picture = '' } = job.links
    const leaving = new AbortController()
    const watching = fetch(place.address + events, { signal: leaving.signal })
      .then((response) => response.text())
      .catch(() => '')
    const fate = random()
    if (fate < 0.2) await client.send('POST', `${self}/cancel`)
    else if (fate < 0.3) await client.send('DELETE', self)
    else if (fate < 0.5) {
      await new Promise((resolve) => setTimeout(resolve, 10 * random()))
      leaving.abort()
    }
    await watching
    if (fate < 0.5) return
    assert.equal((await client.send<JsonJob>('GET', self)).body.status, 'completed')
    await client.picture(picture, fate < 0.7 ? 'image/webp' : 'image/png')
  }
})

/** The same numbers every time, 0..1. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function list(values: readonly number[]): string {
  return values.map((value) => value.toFixed(0)).join(' ')
}
