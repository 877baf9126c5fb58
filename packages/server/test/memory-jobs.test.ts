/** Jobs in memory, with work that takes no model. */
import assert from 'node:assert/strict'

import { type Job, MemoryJobs } from 'magicmix-server'

import { defaults, jobsContract, orderOf, play } from './support/jobs-contract.js'

describe('MemoryJobs', () => {
  jobsContract((options) => {
    const jobs = new MemoryJobs(options)
    return Promise.resolve({ jobs, end: () => jobs.close() })
  })

  function start(limits: Partial<typeof defaults> = {}) {
    const ended: Job[] = []
    const onEnd = (job: Job) => ended.push({ ...job })
    return {
      jobs: new MemoryJobs({ work: play, limits: { ...defaults, ...limits }, onEnd }),
      ended,
    }
  }

  it('works on models side by side, and on a sweep beside a mix', async () => {
    const { jobs } = start()
    const orders = [
      orderOf({ name: 'a', ms: 60_000 }),
      orderOf({ name: 'b', ms: 60_000 }, { model: 'b' }),
      orderOf({ name: 'c', ms: 60_000 }, { kind: 'sweep' }),
    ]
    for (const order of orders) assert.equal((await jobs.submit(order)).job.status, 'running')
    assert.equal((await jobs.submit(orderOf({ name: 'd' }))).job.position, 1)
    await jobs.close()
  })

  it('drains: what runs ends, what waits is refused, and no more is taken', async () => {
    const { jobs, ended } = start()
    await jobs.submit(orderOf({ name: 'a', ms: 30 }))
    const waiting = (await jobs.submit(orderOf({ name: 'b' }))).job
    const drained = jobs.drain()
    await assert.rejects(jobs.submit(orderOf({ name: 'c' })), { status: 503, code: 'DRAINING' })
    await drained
    assert.deepEqual(
      ended.map(({ status }) => status),
      ['failed', 'completed'],
    )
    const job = await jobs.get(waiting.id)
    assert.equal(job !== 'gone' && job?.error?.code, 'DRAINING')
    await jobs.close()
  })

  it('drains for so long only', async () => {
    const { jobs, ended } = start({ drainSeconds: 0.02 })
    await jobs.submit(orderOf({ name: 'a', ms: 60_000 }))
    await jobs.drain()
    assert.deepEqual(
      ended.map(({ status }) => status),
      ['cancelled'],
    )
    await jobs.close()
  })
})
