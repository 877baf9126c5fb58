/** Jobs in Redis, with work that takes no model, and workers in this process. */
import assert from 'node:assert/strict'

import { type Job, type JobsOptions, Problem, type Work } from 'magicmix-server'

import { RedisJobs, RedisPlace, RedisWorker } from '../dist/redis/index.js'
import type { WorkerEvent } from '../dist/redis/redis-worker.js'
import { MagicMixError } from 'magicmix'

import { defaults, jobsContract, orderOf, play } from './support/jobs-contract.js'
import { RedisServer, needsRedis } from './support/redis.js'

describe('RedisJobs', function () {
  needsRedis(this)
  let redis: RedisServer
  let prefixes = 0
  before(async () => {
    redis = await RedisServer.start()
  })
  after(() => redis?.end())

  const options = (prefix: string) => ({ url: redis.url, prefix, lockSeconds: 2 })
  const fail = (error: Error) => assert.fail(error)

  function workerWith(prefix: string, given: Partial<JobsOptions> = {}, model = 'a') {
    const events: WorkerEvent[] = []
    return RedisWorker.start({
      redis: options(prefix),
      work: given.work ?? play,
      limits: given.limits ?? defaults,
      models: {
        names: [model],
        byDefault: model,
        loaded: () => undefined,
        describe: () => [{ name: model, isDefault: true, isLoaded: true, info: null }],
        tokenize: (_, text) => Promise.resolve([{ id: 1, index: 0, text }]),
        dispose: () => Promise.resolve(),
      },
      onEvent: (event) => events.push(event),
    })
  }

  async function jobsWith(prefix: string, given: Partial<JobsOptions> = {}) {
    const limits = given.limits ?? defaults
    const place = await RedisPlace.open(options(prefix), limits, fail)
    const ended: Job[] = []
    const onEnd = given.onEnd ?? ((job: Job) => ended.push(job))
    return { jobs: new RedisJobs(place, { onEnd }), place, ended }
  }

  jobsContract(async (given) => {
    const prefix = `contract-${++prefixes}`
    const worker = await workerWith(prefix, given)
    const { jobs } = await jobsWith(prefix, given)
    const end = async () => {
      await jobs.close()
      await worker.close()
    }
    return { jobs, end }
  })

  /** Two of them, as a test names them, with a server's side. */
  describe('with workers that come and go', () => {
    let prefix: string
    let ending: (() => Promise<void>)[]
    beforeEach(() => {
      prefix = `crew-${++prefixes}`
      ending = []
    })
    afterEach(async () => {
      for (const end of ending.reverse()) await end()
    })

    async function worker(work: Work, model?: string, given: Partial<JobsOptions> = {}) {
      const worker = await workerWith(prefix, { ...given, work }, model)
      ending.push(() => worker.close())
      return worker
    }
    async function server(given: Partial<JobsOptions> = {}) {
      const made = await jobsWith(prefix, given)
      ending.push(() => made.jobs.close())
      return made
    }
    async function ended({ jobs }: Awaited<ReturnType<typeof server>>, id: string): Promise<Job> {
      for await (const _ of jobs.events(id, 0, new AbortController().signal)) void _
      const job = await jobs.get(id)
      assert.ok(job !== undefined && job !== 'gone')
      return job
    }

    it('keeps a job until a worker comes that has its model', async () => {
      const here = await server()
      await worker(play, 'other')
      const { job } = await here.jobs.submit(orderOf({ name: 'a' }))
      const other = await here.jobs.submit(orderOf({ name: 'b' }, { model: 'other' }))
      assert.equal((await ended(here, other.job.id)).status, 'completed')
      const waiting = await here.jobs.get(job.id)
      assert.deepEqual(waiting !== 'gone' && [waiting?.status, waiting?.position], ['queued', 1])
      await worker(play, 'a')
      assert.equal((await ended(here, job.id)).status, 'completed')
    })

    it('gives a worker everything that the order has, pictures too', async () => {
      const here = await server()
      const picture = Buffer.from([0, 255, 128, 10])
      const request = {
        ...{ layout: picture, content: 'ä "quoted"', seed: 7, nothing: null },
        vary: { layout: [picture, Buffer.alloc(0)], nu: [0.1, 0.25] },
      }
      let got: unknown
      await worker((order) => {
        got = order.request
        return Promise.resolve()
      })
      const { job } = await here.jobs.submit(orderOf({ name: '' }, { request }))
      await ended(here, job.id)
      assert.deepEqual(got, request)
    })

    it('tries again what may pass, and nothing else', async () => {
      const here = await server()
      let begun = 0
      await worker(({ request }, report) => {
        begun++
        report.blob('picture', Buffer.alloc(begun))
        if (request.name === 'wrong') throw new Problem(422, 'INVALID_ARGUMENT', 'wrong')
        if (begun === 1) throw new MagicMixError('OUT_OF_MEMORY', 'full', {})
        return Promise.resolve()
      })
      const { job } = await here.jobs.submit(orderOf({ name: 'a' }))
      assert.equal((await ended(here, job.id)).status, 'completed')
      assert.equal((await here.jobs.blob(job.id, 'picture'))?.bytes.length, 2)
      const wrong = await here.jobs.submit(orderOf({ name: 'wrong' }))
      const { status, error } = await ended(here, wrong.job.id)
      assert.deepEqual([status, error?.message, begun], ['failed', 'wrong', 3])
    })

    it('keeps no picture that is larger than the limit', async () => {
      const here = await server()
      await worker((_, report) => {
        report.blob('picture', Buffer.alloc(65 * 2 ** 20))
        return Promise.resolve()
      })
      const { job } = await here.jobs.submit(orderOf({ name: 'a' }))
      assert.equal((await ended(here, job.id)).error?.code, 'TOO_LARGE')
    })

    it('drains: what runs ends, what waits stays, and goes on with another worker', async () => {
      const here = await server()
      const first = await worker(play)
      const running = (await here.jobs.submit(orderOf({ name: 'a', ms: 300 }))).job
      while ((await status(here, running.id)) === 'queued') continue
      const waiting = (await here.jobs.submit(orderOf({ name: 'b' }))).job
      await first.drain()
      assert.equal(await status(here, running.id), 'completed')
      assert.equal(await status(here, waiting.id), 'queued')
      await worker(play)
      assert.equal((await ended(here, waiting.id)).status, 'completed')
    })

    it('gives back what takes too long when a worker ends', async () => {
      const here = await server()
      const limits = { ...defaults, drainSeconds: 0.05 }
      const first = await worker(play, 'a', { limits })
      const { job } = await here.jobs.submit(orderOf({ name: 'a', ms: 60_000 }))
      while ((await status(here, job.id)) === 'queued') continue
      await first.drain()
      assert.equal(await status(here, job.id), 'queued')
      await worker(() => Promise.resolve())
      assert.equal((await ended(here, job.id)).status, 'completed')
    })

    it('tells every server of its own jobs alone, and knows keys of all', async () => {
      const one = await server()
      const two = await server()
      await worker(play)
      const once = { key: 'k'.repeat(200), fingerprint: '1' }
      const { job } = await one.jobs.submit(orderOf({ name: 'a' }, { once }))
      const again = await two.jobs.submit(orderOf({ name: 'a' }, { once }))
      assert.deepEqual([again.job.id, again.isNew], [job.id, false])
      await ended(two, job.id)
      while (one.ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      assert.deepEqual(
        [one.ended, two.ended].map((jobs) => jobs.map(({ id }) => id)),
        [[job.id], []],
      )
    })

    it('puts a job into its queue again that a server left halfway', async () => {
      const here = await server()
      const { job } = await here.jobs.submit(orderOf({ name: 'a' }))
      await here.place.queue('mix-a').remove(job.id)
      await worker(play)
      // It is looked after once nobody has told anything of it for twice a lock's time.
      assert.equal((await ended(here, job.id)).status, 'completed')
    })

    it('says of a job that its workers die of it', async () => {
      const here = await server()
      const { job } = await here.jobs.submit(orderOf({ name: 'a' }))
      const bull = await here.place.queue('mix-a').getJob(job.id)
      // As BullMQ marks one that was left too often.
      const client = here.place.redis
      await client.hset(`${prefix}:bull:mix-a:${bull?.id}`, 'defa', 'stalled too often')
      await worker(play)
      assert.equal((await ended(here, job.id)).error?.code, 'WORKER_LOST')
    })

    async function status({ jobs }: Awaited<ReturnType<typeof server>>, id: string) {
      const job = await jobs.get(id)
      return job === undefined || job === 'gone' ? job : job.status
    }
  })
})
