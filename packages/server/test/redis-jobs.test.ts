/** Jobs in Redis, with work that takes no model, and workers in this process. */
import assert from 'node:assert/strict'

import type { Job, JobsOptions, Limits } from 'magicmix-server'

import { RedisJobs, RedisPlace, RedisWorker, type WorkerEvent } from '../dist/redis/index.js'
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
})
