/** What a mixer says of its work: `queue`, `maxQueue`, and `check`. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { tracingChannel } from 'node:diagnostics_channel'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { pathToFileURL } from 'node:url'

import { MagicMix } from 'magicmix'
import type { LayoutPicture, MixRequest, MixTimings, ProgressEvent } from 'magicmix'
import sharp from 'sharp'

import { fixture } from './support/package-root.js'
import { smallRequest, tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const long: MixRequest = { ...smallRequest, steps: 400 }
const idle = { running: 0, waiting: 0 }

/** What the tracing channel's listeners get. */
interface Span {
  request: { seed: number }
  mix?: { width: number }
  error: { code: string }
}

describe('queue', () => {
  let mixer: MagicMix
  before(async () => {
    mixer = await MagicMix.load({ ...(await tinyOptions()), maxQueue: 2 })
  })
  after(() => mixer.dispose())

  /** A mix that has begun, and how to stop it. */
  async function started() {
    const controller = new AbortController()
    let begun: () => void = () => {}
    const beginning = new Promise<void>((resolve) => (begun = resolve))
    const mix = mixer.mix({ ...long, signal: controller.signal, onProgress: () => begun() })
    mix.catch(() => {})
    await beginning
    return { stop: () => controller.abort(), mix }
  }
  it('is empty at first', () => {
    assert.deepEqual(mixer.queue, idle)
  })

  it('counts what runs and what waits, and refuses one more than may wait', async () => {
    const { stop, mix } = await started()
    const controller = new AbortController()
    const { signal } = controller
    const waiting = [1, 2].map(() => mixer.mix({ ...long, signal }))
    for (const each of waiting) each.catch(() => {})
    assert.deepEqual(mixer.queue, { running: 1, waiting: 2 })
    await assert.rejects(mixer.mix(smallRequest), (error) => {
      assert.deepEqual((error as { details: object }).details, { waiting: 2, maxQueue: 2 })
      return coded('QUEUE_FULL', /2 mixes wait already.*maxQueue/)(error)
    })
    controller.abort()
    await Promise.allSettled(waiting)
    assert.deepEqual(mixer.queue, { running: 1, waiting: 0 })
    stop()
    await Promise.allSettled([mix])
    assert.deepEqual(mixer.queue, idle)
    await mixer.mix(smallRequest)
  })

  it('forgets mixes that fail before they run', async () => {
    await assert.rejects(mixer.mix({ ...smallRequest, layout: 'missing.png' }))
    await assert.rejects(mixer.mix({ ...smallRequest, nu: 7 }))
    await assert.rejects(mixer.mix({ ...smallRequest, attention: { dog: 1 } }))
    assert.deepEqual(mixer.queue, idle)
  })

  it('has no limit by default, and is empty after dispose', async () => {
    const other = await MagicMix.load(await tinyOptions())
    const mixes = Array.from({ length: 8 }, () => other.mix(long))
    for (const mix of mixes) mix.catch(() => {})
    await new Promise(setImmediate)
    assert.equal(other.queue.running + other.queue.waiting, 8)
    await other.dispose()
    await Promise.allSettled(mixes)
    assert.deepEqual(other.queue, idle)
  })

  for (const maxQueue of [0, 1.5, '2', Infinity]) {
    it(`refuses ${String(maxQueue)} as maxQueue`, async () => {
      const options = { maxQueue } as object
      await assert.rejects(MagicMix.load(options), coded('INVALID_ARGUMENT', /for maxQueue/))
    })
  }
})

describe('a layout that never ends', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-stalled-'))))
  after(() => rm(folder, { recursive: true }))

  /** Uploads that stall, in every form that can. */
  const stalled: Record<string, () => LayoutPicture> = {
    'a stream of Node': () => new PassThrough(),
    'a stream of the web': () => new ReadableStream(),
    'a response': () => new Response(new ReadableStream()),
    'an upload to sharp': () => new PassThrough().pipe(sharp()),
    'an asynchronous iterable': () => ({
      async *[Symbol.asyncIterator]() {
        await new Promise(() => {})
        yield new Uint8Array()
      },
    }),
  }
  for (const [what, layoutOf] of Object.entries(stalled)) {
    it(`as ${what} holds nobody up, and ends with its signal, its time or its mixer`, async () => {
      const options = await tinyOptions()
      const mixer = await MagicMix.load(options)
      const patient = await MagicMix.load({ ...options, timeLimit: 50 })
      const controller = new AbortController()
      const reason = new Error('hung up')
      const { signal } = controller
      const aborted = mixer.mix({ ...smallRequest, layout: layoutOf(), signal })
      const forgotten = mixer.mix({ ...smallRequest, layout: layoutOf() })
      forgotten.catch(() => {})
      await mixer.mix(smallRequest)
      assert.deepEqual(mixer.queue, { running: 0, waiting: 2 })
      controller.abort(reason)
      await assert.rejects(aborted, (error) => error === reason)
      await assert.rejects(patient.mix({ ...smallRequest, layout: layoutOf() }), (error) => {
        assert.deepEqual((error as { details: object }).details, { timeLimit: 50 })
        return coded('TIMED_OUT', /longer than the 50 ms.*timeLimit/)(error)
      })
      const { stopped, failed } = patient.stats()
      assert.deepEqual({ stopped, failed }, { stopped: 0, failed: 1 })
      const disposal = mixer.dispose()
      await assert.rejects(forgotten, { code: 'DISPOSED' })
      await disposal
      assert.deepEqual(mixer.queue, idle)
      await patient.dispose()
    })
  }

  it('is destroyed when nobody waits for it any more', async () => {
    await using mixer = await MagicMix.load(await tinyOptions())
    const stream = new PassThrough()
    const signal = AbortSignal.timeout(20)
    await assert.rejects(mixer.mix({ ...smallRequest, layout: stream, signal }))
    assert.ok(stream.destroyed)
    let cancelled = false
    const web = new ReadableStream({ cancel: () => void (cancelled = true) })
    const again = AbortSignal.timeout(20)
    await assert.rejects(mixer.mix({ ...smallRequest, layout: web, signal: again }))
    assert.ok(cancelled)
  })

  it('is refused if it is a pipe, before a thread waits for it', async function () {
    if (process.platform === 'win32') return this.skip()
    const pipe = path.join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    await using mixer = await MagicMix.load(await tinyOptions())
    for (const layout of [pipe, { path: pipe }, pathToFileURL(pipe)]) {
      const mixing = mixer.mix({ ...smallRequest, layout })
      await assert.rejects(mixing, coded('PICTURE_UNREADABLE', /no regular file/))
    }
  })
})

describe('what a mixer tells', () => {
  it('of places in the queue', async () => {
    await using mixer = await MagicMix.load(await tinyOptions())
    const heard: string[][] = [[], [], []]
    await Promise.all(
      heard.map((events) =>
        mixer.mix({
          ...smallRequest,
          onProgress: ({ stage, position }) =>
            events.push(stage === 'queued' ? `queued ${position}` : stage),
        }),
      ),
    )
    const places = heard.map((events) => events.filter((event) => event.startsWith('queued')))
    assert.deepEqual(places, [[], ['queued 1'], ['queued 2', 'queued 1']])
    for (const [i, events] of heard.entries()) {
      assert.ok(events.slice(0, places[i]!.length).every((event) => event.startsWith('queued')))
    }
  })

  it('and ends a mix whose listener throws while it waits', async () => {
    await using mixer = await MagicMix.load(await tinyOptions())
    const failure = new Error('of the listener')
    const first = mixer.mix(smallRequest)
    const onProgress = () => {
      throw failure
    }
    await assert.rejects(mixer.mix({ ...smallRequest, onProgress }), (error) => error === failure)
    await first
  })

  it('of what it has done', async () => {
    await using mixer = await MagicMix.load({ ...(await tinyOptions()), maxQueue: 1 })
    const none = { count: 0, mean: 0, median: 0, p95: 0, max: 0 }
    const fresh = mixer.stats()
    assert.deepEqual([fresh.done, fresh.failed, fresh.stopped], [0, 0, 0])
    assert.deepEqual([fresh.stepTimes, fresh.waitTimes, fresh.totalTimes], [none, none, none])

    const mixes = await Promise.all([mixer.mix(smallRequest), mixer.mix(smallRequest)])
    const [first, second] = mixes.map(({ timings }) => timings) as [MixTimings, MixTimings]
    await assert.rejects(mixer.mix({ ...smallRequest, layout: 'missing.png' }))
    await assert.rejects(mixer.mix({ ...long, signal: AbortSignal.timeout(20) }))

    const stats = mixer.stats()
    assert.deepEqual([stats.done, stats.failed, stats.stopped], [2, 1, 1])
    assert.deepEqual([stats.running, stats.waiting], [0, 0])
    assert.equal(stats.stepTimes.count, first.steps.length + second.steps.length)
    assert.equal(stats.totalTimes.count, 2)
    assert.equal(stats.totalTimes.max, Math.max(first.total, second.total))
    assert.ok(second.queued > first.queued && second.queued < second.total)
    assert.ok(stats.stepTimes.median <= stats.stepTimes.p95)
    assert.equal(stats.memory.weights, mixer.model.memory.weights)
    assert.ok(stats.memory.process > stats.memory.weights)
  })

  it('to the tracing channel', async () => {
    await using mixer = await MagicMix.load(await tinyOptions())
    const heard: string[] = []
    const channel = tracingChannel('magicmix.mix')
    const handlers = {
      start: (span: object) => heard.push(`start ${(span as Span).request.seed}`),
      end: () => {},
      asyncStart: () => {},
      asyncEnd: (span: object) => heard.push(`end ${(span as Span).mix?.width ?? 'without'}`),
      error: (span: object) => heard.push((span as Span).error.code),
    }
    channel.subscribe(handlers)
    try {
      await mixer.mix({ ...smallRequest, seed: 5 })
      await assert.rejects(mixer.mix({ ...smallRequest, seed: 6, layout: 'missing.png' }))
    } finally {
      channel.unsubscribe(handlers)
    }
    assert.deepEqual(heard, ['start 5', 'end 64', 'start 6', 'PICTURE_UNREADABLE', 'end without'])
  })
})

describe('check', () => {
  let mixer: MagicMix
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
  })
  after(() => mixer.dispose())

  const requests: [what: string, request: MixRequest][] = [
    ['a picture', { layout: fixture('landscape64.png'), content: 'a', steps: 7, width: 64 }],
    [
      'another aspect ratio',
      { layout: fixture('landscape128x192.png'), content: 'a', width: 32, steps: 3 },
    ],
    ['a prompt', { ...smallRequest, steps: 11, kMax: 0.7, kMin: 0.2 }],
    ['a prompt without mixing', { ...smallRequest, steps: 11, kMax: 0.5, kMin: 0.5 }],
    ['one step', { ...smallRequest, steps: 1, kMax: 1, kMin: 0 }],
    ['a prompt, which is scored,', { ...smallRequest, steps: 5, score: true }],
  ]
  for (const [what, request] of requests) {
    it(`says the size and the steps that a mix of ${what} will have`, async () => {
      const plan = await mixer.check(request)
      const steps = { layout: 0, content: 0, score: 0 }
      const onProgress = ({ stage, steps: all }: ProgressEvent) => {
        if (stage in steps) steps[stage as keyof typeof steps] = all
      }
      const { width, height } = await mixer.mix({ ...request, onProgress })
      assert.deepEqual(plan, { width, height, steps })
    })
  }

  it('knows the size of a sharp instance and of pixels', async () => {
    const layout = sharp(fixture('landscape64.png')).resize(32, 96, { fit: 'fill' })
    const { width, height } = await mixer.check({ layout, content: 'a', height: 96 })
    assert.deepEqual([width, height], [64, 96]) // at least an eighth of the native size
    const pixels = { data: new Uint8Array(300), width: 10, height: 10, channels: 3 } as const
    const plan = await mixer.check({ layout: pixels, content: 'a', width: 64 })
    assert.deepEqual([plan.width, plan.height], [64, 64])
  })

  it('refuses what mix refuses', async () => {
    const cases: [string, object][] = [
      ['INVALID_ARGUMENT', { nu: 7 }],
      ['UNKNOWN_OPTION', { sead: 1 }],
      ['PROMPT_TOO_LONG', { content: 'cat '.repeat(80) }],
      ['PHRASE_NOT_FOUND', { attention: { dog: 1 } }],
      ['PICTURE_UNREADABLE', { layout: 'missing.png' }],
      ['INVALID_ARGUMENT', { layout: fixture('landscape64.png'), background: 'no colour' }],
    ]
    for (const [code, change] of cases) {
      const request = { ...smallRequest, ...change } as MixRequest
      await assert.rejects(mixer.check(request), { code })
      await assert.rejects(mixer.mix(request), { code })
    }
  })

  it('ends with the signal and with the mixer', async () => {
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(mixer.check({ ...smallRequest, signal }), reason)
    const other = await MagicMix.load(await tinyOptions())
    await other.dispose()
    await assert.rejects(other.check(smallRequest), { code: 'DISPOSED' })
  })
})
