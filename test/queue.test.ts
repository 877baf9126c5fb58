/** What a mixer says of its work: `queue`, `maxQueue`, and `check`. */
import assert from 'node:assert/strict'

import { MagicMix, type MixRequest, type ProgressEvent } from 'magicmix'
import sharp from 'sharp'

import { fixture } from './support/package-root.js'
import { smallRequest, tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const long: MixRequest = { ...smallRequest, steps: 400 }

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
  const idle = { running: 0, waiting: 0 }

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
  ]
  for (const [what, request] of requests) {
    it(`says the size and the steps that a mix of ${what} will have`, async () => {
      const plan = await mixer.check(request)
      const steps = { layout: 0, content: 0 }
      const onProgress = (event: ProgressEvent) => {
        if (event.stage === 'layout' || event.stage === 'content') steps[event.stage] = event.steps
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
