/** What every implementation of `Jobs` has to keep. */
import assert from 'node:assert/strict'

import {
  type Job,
  type JobEvent,
  type Jobs,
  type JobsOptions,
  type Limits,
  type Order,
  Problem,
  type Work,
  limitRows,
} from 'magicmix-server'

/** Makes jobs that are worked on by `options.work`, here or elsewhere. */
export type MakeJobs = (options: JobsOptions) => Promise<{ jobs: Jobs; end(): Promise<void> }>

/** What {@link play} does with an order. */
export interface Script {
  name: string
  /** Waits so long, unless it is cancelled. */
  ms?: number
  /** Tells so many steps. */
  steps?: number
  fails?: boolean
  /** Gives a picture of so many bytes. */
  bytes?: number
}

export const defaults = Object.fromEntries(
  Object.entries(limitRows).map(([name, row]) => [name, row.default]),
) as Limits

export function orderOf(request: Script, more: Partial<Order> = {}): Order {
  return { kind: 'mix', model: 'a', request: { ...request }, bytes: 10, ...more }
}

/** Work that takes no model: as the order's script says. */
export const play: Work = async (order, report, signal) => {
  const { ms = 0, steps = 0, fails, bytes, name } = order.request as unknown as Script
  for (let step = 1; step <= steps; step++) report.event('progress', { stage: 'content', step })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
  })
  if (fails) throw new Problem(422, 'INVALID_ARGUMENT', 'as it was told')
  if (bytes !== undefined) report.blob('picture', Buffer.alloc(bytes, 1))
  report.result({ name })
}

export function jobsContract(make: MakeJobs): void {
  let made: Awaited<ReturnType<MakeJobs>> | undefined
  /** In the order in which they ended. */
  let ended: Job[]

  async function start(limits: Partial<Limits> = {}, work = play): Promise<Jobs> {
    ended = []
    const onEnd = (job: Job) => ended.push(structuredClone(job))
    made = await make({ work, limits: { ...defaults, ...limits }, onEnd })
    return made.jobs
  }
  afterEach(async () => {
    await made?.end()
    made = undefined
  })

  /** Whoever is told of ends may be told a moment later than readers of events. */
  async function told(count: number): Promise<void> {
    while (ended.length < count) await new Promise((resolve) => setTimeout(resolve, 1))
  }

  async function eventsOf(jobs: Jobs, id: string, after = 0): Promise<JobEvent[]> {
    const events = []
    for await (const event of jobs.events(id, after, new AbortController().signal))
      events.push(event)
    return events
  }

  async function jobOf(jobs: Jobs, id: string): Promise<Job> {
    const job = await jobs.get(id)
    assert.ok(job !== undefined && job !== 'gone')
    return job
  }

  it('works on orders in the order in which they came', async () => {
    const jobs = await start()
    const names = Array.from({ length: 20 }, (_, i) => String(i))
    const submitted = []
    for (const name of names) submitted.push(await jobs.submit(orderOf({ name, ms: 1 })))
    await Promise.all(submitted.map(({ job }) => eventsOf(jobs, job.id)))
    const results = await Promise.all(submitted.map(({ job }) => jobOf(jobs, job.id)))
    assert.deepEqual(
      results.map(({ status, result }) => [status, result?.name]),
      names.map((name) => ['completed', name]),
    )
    await told(names.length)
    assert.deepEqual(
      ended.map(({ result }) => result?.name),
      names,
    )
  })

  it('works on what is urgent first', async () => {
    const jobs = await start()
    const first = (await jobs.submit(orderOf({ name: 'first', ms: 60_000 }))).job
    for (;;) if ((await jobOf(jobs, first.id)).status === 'running') break
    const ids = []
    for (const [i, priority] of [3, 7, undefined, 0, 3].entries()) {
      ids.push((await jobs.submit(orderOf({ name: String(i) }, { priority }))).job.id)
    }
    const waiting = await Promise.all(ids.map((id) => jobOf(jobs, id)))
    assert.deepEqual(
      waiting.map(({ position }) => position),
      [2, 5, 3, 1, 4],
    )
    await jobs.cancel(first.id)
    for (const id of ids) await eventsOf(jobs, id)
    await told(6)
    assert.deepEqual(
      ended.slice(1).map(({ result }) => result?.name),
      ['3', '0', '2', '4', '1'],
    )
  })

  it('gives the picture, and tells how it went', async () => {
    const jobs = await start()
    const { job, isNew } = await jobs.submit(orderOf({ name: 'a', steps: 3, bytes: 100 }))
    assert.ok(isNew)
    const events = await eventsOf(jobs, job.id)
    const steps = events.filter(({ event }) => event === 'progress').map(({ data }) => data.step)
    assert.deepEqual(steps.filter(Boolean), [1, 2, 3])
    assert.deepEqual(events.at(-1)?.data, { status: 'completed', error: null })
    assert.deepEqual(await eventsOf(jobs, job.id, events[0]?.id), events.slice(1))

    const picture = await jobs.blob(job.id, 'picture')
    assert.deepEqual(picture?.bytes, Buffer.alloc(100, 1))
    assert.match(picture.hash, /^[0-9a-f]{16}$/)
    assert.equal(await jobs.blob(job.id, 'sheet'), undefined)
    const { startedAt, finishedAt, expiresAt, progress } = await jobOf(jobs, job.id)
    assert.ok(startedAt && finishedAt && expiresAt && finishedAt < expiresAt)
    assert.deepEqual(progress, { stage: 'content', step: 3 })
    assert.equal((await jobs.counts()).keptBytes, 100)
  })

  it('says why a job failed', async () => {
    const jobs = await start()
    const { job } = await jobs.submit(orderOf({ name: 'a', fails: true }))
    const error = { code: 'INVALID_ARGUMENT', message: 'as it was told' }
    const events = await eventsOf(jobs, job.id)
    assert.deepEqual(events.at(-1)?.data, { status: 'failed', error })
    assert.deepEqual((await jobOf(jobs, job.id)).error, error)
    const next = await jobs.submit(orderOf({ name: 'b' }))
    await eventsOf(jobs, next.job.id)
    assert.equal((await jobOf(jobs, next.job.id)).status, 'completed')
  })

  it('cancels what runs and what waits', async () => {
    const jobs = await start()
    const running = (await jobs.submit(orderOf({ name: 'a', ms: 60_000 }))).job
    const waiting = (await jobs.submit(orderOf({ name: 'b' }))).job
    const last = (await jobs.submit(orderOf({ name: 'c' }))).job
    await jobs.cancel(waiting.id)
    await eventsOf(jobs, waiting.id)
    await jobs.cancel(running.id)
    for (const { id } of [running, waiting, last]) await eventsOf(jobs, id)
    const statuses = await Promise.all([running, waiting, last].map(({ id }) => jobOf(jobs, id)))
    assert.deepEqual(
      statuses.map(({ status }) => status),
      ['cancelled', 'cancelled', 'completed'],
    )
    const again = await jobs.cancel(last.id)
    assert.equal(again !== 'gone' && again?.status, 'completed')
    assert.equal(await jobs.cancel('none'), undefined)
  })

  it('forgets what is removed', async () => {
    const jobs = await start()
    const running = (await jobs.submit(orderOf({ name: 'a', ms: 60_000, bytes: 5 }))).job
    await jobs.remove(running.id)
    assert.equal(await jobs.get(running.id), 'gone')
    const done = (await jobs.submit(orderOf({ name: 'a', bytes: 5 }))).job
    await eventsOf(jobs, done.id)
    await jobs.remove(done.id)
    assert.equal(await jobs.get(done.id), 'gone')
    assert.equal(await jobs.blob(done.id, 'picture'), undefined)
    assert.equal((await jobs.counts()).keptBytes, 0)
    assert.equal(await jobs.get('none'), undefined)
    await jobs.remove('none')
  })

  it('gives the same job for the same key', async () => {
    const jobs = await start()
    const once = { key: 'k', fingerprint: '1' }
    const [one, two] = await Promise.all([
      jobs.submit(orderOf({ name: 'a' }, { once })),
      jobs.submit(orderOf({ name: 'a' }, { once })),
    ])
    assert.equal(one.job.id, two.job.id)
    assert.deepEqual([one.isNew, two.isNew].sort(), [false, true])
    const other = { key: 'k', fingerprint: '2' }
    await assert.rejects(jobs.submit(orderOf({ name: 'b' }, { once: other })), { status: 422 })
    await jobs.remove(one.job.id)
    assert.ok((await jobs.submit(orderOf({ name: 'a' }, { once }))).isNew)
  })

  it('lets no more wait than the limits say', async () => {
    const jobs = await start({ queue: 2, queueBytes: 100 })
    const first = (await jobs.submit(orderOf({ name: 'a', ms: 60_000 }))).job
    for (;;) if ((await jobOf(jobs, first.id)).status === 'running') break
    await jobs.submit(orderOf({ name: 'b' }))
    const large = jobs.submit(orderOf({ name: 'large' }, { bytes: 91 }))
    await assert.rejects(large, { status: 429, code: 'QUEUE_FULL' })
    await jobs.submit(orderOf({ name: 'c' }, { bytes: 90 }))
    await assert.rejects(jobs.submit(orderOf({ name: 'd' })), { status: 429, code: 'QUEUE_FULL' })
  })

  it('forgets the oldest first, by number, bytes and age', async () => {
    const jobs = await start({ keptJobs: 3, keptBytes: 100 })
    const ids: string[] = []
    for (const bytes of [10, 10, 10, 10, 90]) {
      const { job } = await jobs.submit(orderOf({ name: 'a', bytes }))
      await eventsOf(jobs, job.id)
      ids.push(job.id)
    }
    const kept = await Promise.all(ids.map(async (id) => (await jobs.get(id)) !== 'gone'))
    assert.deepEqual(kept, [false, false, false, true, true])
    await made?.end()

    const brief = await start({ keptSeconds: 0.05 })
    const { job } = await brief.submit(orderOf({ name: 'a' }))
    await eventsOf(brief, job.id)
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(await brief.get(job.id), 'gone')
  })

  it('ends the events of a reader that goes', async () => {
    const jobs = await start()
    const { job } = await jobs.submit(orderOf({ name: 'a', ms: 60_000 }))
    const reader = new AbortController()
    setTimeout(() => reader.abort(), 20)
    for await (const _ of jobs.events(job.id, 0, reader.signal)) void _
    assert.ok(reader.signal.aborted)
  })
}
