/** Memory stays flat over many mixes, aborted mixes and loaded models. Figures are printed. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { MagicMix } from 'magicmix'

import { smallRequest, tinyOptions } from './support/programs.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const megabyte = 2 ** 20
/**
 * What the resident set may grow by. A leak would be far above: some hundred runs of several
 * megabytes of tensors, or 15 models and more of 27 MB or twice that.
 */
const slack = 32 * megabyte

describe('memory', () => {
  it('is flat over 100 mixes', async () => {
    await using mixer = await MagicMix.load(await tinyOptions())
    const first = await mixer.mix(smallRequest)
    const mixes = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const { data } = await mixer.mix({ ...smallRequest, previewEvery: 1, onProgress: ignore })
        assert.deepEqual(data, first.data)
      }
    }
    await staysFlat(
      '100 mixes',
      () => mixes(25),
      () => mixes(75),
    )
  })

  it('is flat over 200 aborts at random moments, also of loading', async () => {
    const options = await tinyOptions()
    await using mixer = await MagicMix.load(options)
    const first = await mixer.mix(smallRequest)
    const whole = first.timings.total
    let [aborted, ended] = [0, 0]
    const attempts = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const loads = i % 4 === 0
        const controller = new AbortController()
        const reason = { abort: i }
        const { signal } = controller
        const run = loads
          ? MagicMix.load({ ...options, signal, onProgress: ignore }).then((it) => it.dispose())
          : mixer.mix({ ...smallRequest, signal, previewEvery: 1, onProgress: ignore })
        // Settled or not, nothing may be left unhandled.
        const outcome = run.then(
          () => 'ended',
          (error: unknown) => error,
        )
        await pause(Math.random() * (loads ? 60 : whole))
        controller.abort(reason)
        const result = await outcome
        if (result === 'ended') ended++
        else {
          assert.equal(result, reason)
          aborted++
        }
      }
    }
    await staysFlat(
      '200 aborts',
      () => attempts(50),
      () => attempts(150),
    )
    console.log(`      ${aborted} were aborted, ${ended} had ended before`)
    assert.ok(aborted >= 100)
    assert.deepEqual((await mixer.mix(smallRequest)).data, first.data)
  })

  it('is flat over 20 models loaded and disposed of', async () => {
    const options = await tinyOptions()
    const cycles = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const mixer = await MagicMix.load(options)
        await mixer.mix({ ...smallRequest, steps: 2 })
        await mixer.dispose()
      }
    }
    await staysFlat(
      '20 models',
      () => cycles(5),
      () => cycles(15),
    )
  })
})

/** Compares the resident set after `warmUp` with that after `work`. */
async function staysFlat(
  name: string,
  warmUp: () => Promise<void>,
  work: () => Promise<void>,
): Promise<void> {
  await warmUp()
  const before = resident()
  await work()
  const after = resident()
  const figures = [before, after].map((bytes) => (bytes / megabyte).toFixed(1))
  console.log(`      ${name}: ${figures.join(' MB after warming up, ')} MB at the end`)
  assert.ok(
    after - before < slack,
    `${name}: the resident set grew from ${figures.join(' to ')} MB`,
  )
}

function resident(): number {
  collectGarbage()
  return process.memoryUsage.rss()
}

function ignore(): void {}
