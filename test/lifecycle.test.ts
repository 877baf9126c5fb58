/**
 * Beginnings and ends: aborting, disposing, queues, throwing callbacks, worker threads, and the end
 * of the process in the middle of everything.
 */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { readFile } from 'node:fs/promises'
import { PassThrough } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'

import { MagicMix } from 'magicmix'
import type { LayoutPicture, LayoutPrompt, Mix, MixRequest, ProgressEvent } from 'magicmix'

import { block } from './support/block.js'
import { fixture } from './support/package-root.js'
import { programOf, runProgram, smallRequest, tinyOptions, wellEnded } from './support/programs.js'

/** So many steps that running to the end would be noticed. */
const longRequest: MixRequest = { ...smallRequest, steps: 500 }

describe('life cycle', () => {
  let mixer: MagicMix
  let expected: Mix
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
    expected = await mixer.mix(smallRequest)
  })
  after(() => mixer.dispose())
  const mixesAsBefore = async () => {
    assert.deepEqual((await mixer.mix(smallRequest)).data, expected.data)
  }

  describe('a run', () => {
    it('leaves the event loop alive', async () => {
      let turns = 0
      const timer = setInterval(() => turns++, 1)
      await mixer.mix({ ...smallRequest, steps: 10 })
      clearInterval(timer)
      assert.ok(turns >= 10, `a timer fired ${turns} times during ten steps`)
    })

    it('lets the event loop turn between calls of a slow onProgress', async () => {
      let [calls, turned, since] = [0, 0, 0]
      const counting = setInterval(() => since++, 1)
      await mixer.mix({
        ...smallRequest,
        steps: 200, // some ten calls, whose first and last few may share turns
        onProgress: () => {
          calls++
          if (since > 0) turned++
          since = 0
          block(100) // longer than a step takes
        },
      })
      clearInterval(counting)
      // Two events may share a turn where a stage ends: one before the timers of the next.
      assert.ok(calls >= 4 && turned >= calls / 2, `it turned before ${turned} of ${calls} calls`)
    })

    it('tells no progress after its end', async () => {
      const events: ProgressEvent[] = []
      await mixer.mix({
        ...smallRequest,
        previewEvery: 1,
        onProgress: (event) => events.push(event),
      })
      const last = events.at(-1)
      assert.deepEqual([last?.stage, last?.step, last?.steps], ['decode', 1, 1])
      const count = events.length
      await pause(100)
      assert.equal(events.length, count)
    })

    it('rejects with the very thing that onProgress threw', async () => {
      for (const thrown of [new RangeError('mine'), 'no error at all', undefined]) {
        let calls = 0
        const run = mixer.mix({
          ...longRequest,
          onProgress: () => {
            calls++
            throw thrown
          },
        })
        assert.equal(await failureOf(run), thrown)
        assert.equal(calls, 1)
      }
      await mixesAsBefore()
    })

    it('rejects with the very thing that an asynchronous onProgress rejected with', async () => {
      for (const steps of [4, 500]) {
        const thrown = new RangeError('mine')
        const onProgress = async ({ stage }: ProgressEvent) => {
          await pause(1)
          if (stage === (steps === 4 ? 'decode' : 'content')) throw thrown
        }
        assert.equal(await failureOf(mixer.mix({ ...smallRequest, steps, onProgress })), thrown)
      }
      await mixesAsBefore()
    })

    it('calls onProgress in the context of its own caller', async () => {
      const storage = new AsyncLocalStorage<string>()
      const other = await storage.run('load', async () => MagicMix.load(await tinyOptions()))
      const seen = new Set<string | undefined>()
      const onProgress = () => void seen.add(storage.getStore())
      await Promise.all(
        ['first', 'second'].map((name) =>
          storage.run(name, () => other.mix({ ...smallRequest, onProgress })),
        ),
      )
      await other.dispose()
      assert.deepEqual([...seen].sort(), ['first', 'second'])
    })

    it('warns of no leak when many mixes share a signal', async () => {
      const ended = await runProgram(`
        MagicMix.load(options).then(async (mixer) => {
          const { signal } = new AbortController()
          await Promise.all(Array.from({ length: 12 }, () => mixer.mix({ ...request, signal })))
          console.log('done')
        })`)
      assert.deepEqual(ended, wellEnded('done'))
    })

    it('rejects loading with the very thing that onProgress threw', async () => {
      const thrown = new RangeError('mine')
      const options = await tinyOptions()
      const loading = MagicMix.load({
        ...options,
        onProgress: () => {
          throw thrown
        },
      })
      assert.equal(await failureOf(loading), thrown)
    })
  })

  describe('aborting', () => {
    it('before the start runs nothing', async () => {
      const signal = AbortSignal.abort('too late')
      const onProgress = () => assert.fail('it ran')
      assert.equal(await failureOf(mixer.mix({ ...smallRequest, signal, onProgress })), 'too late')
      const options = await tinyOptions()
      assert.equal(await failureOf(MagicMix.load({ ...options, signal })), 'too late')
    })

    it('in the queue takes that run out alone, at once', async () => {
      const running = new AbortController()
      const waiting = new AbortController()
      const started = signalOfStart()
      const order: string[] = []
      const note = (name: string) => (reason: unknown) => order.push(`${name}: ${String(reason)}`)
      const first = mixer
        .mix({ ...longRequest, signal: running.signal, onProgress: started.onProgress })
        .catch(note('first'))
      const second = mixer
        .mix({
          ...longRequest,
          signal: waiting.signal,
          onProgress: ({ stage }) => assert.equal(stage, 'queued', 'the second run began'),
        })
        .catch(note('second'))
      const third = mixer.mix(smallRequest)
      await started.happened
      waiting.abort('no longer wanted')
      await second
      running.abort('nor this')
      await first
      assert.deepEqual(order, ['second: no longer wanted', 'first: nor this'])
      assert.deepEqual((await third).data, expected.data)
    })

    it('in the middle of a step ends the run there', async () => {
      const controller = new AbortController()
      const reason = new Error('enough')
      const events: ProgressEvent[] = []
      const run = mixer.mix({
        ...longRequest,
        signal: controller.signal,
        onProgress: (event) => {
          events.push(event)
          if (event.stage === 'layout' && event.step >= 1) {
            setTimeout(() => controller.abort(reason), 15) // a step takes longer
          }
        },
      })
      assert.equal(await failureOf(run), reason)
      const { stage, step = 0, steps = 0 } = events.at(-1) ?? {}
      assert.equal(stage, 'layout')
      assert.ok(step < steps / 2, `${step} of ${steps} steps`)
      const count = events.length
      await pause(100)
      assert.equal(events.length, count)
      await mixesAsBefore()
    })

    it('during loading gives up the model', async () => {
      const options = await tinyOptions()
      const atOnce = new AbortController()
      const loading = MagicMix.load({ ...options, signal: atOnce.signal })
      atOnce.abort('changed my mind')
      assert.equal(await failureOf(loading), 'changed my mind')

      const later = new AbortController()
      let calls = 0
      const onProgress = () => {
        calls++
        later.abort('changed my mind')
      }
      const begun = MagicMix.load({ ...options, signal: later.signal, onProgress })
      assert.equal(await failureOf(begun), 'changed my mind')
      assert.equal(calls, 1)
      await using other = await MagicMix.load(options)
      assert.deepEqual((await other.mix(smallRequest)).data, expected.data)
    })

    it('from onProgress, and after the end, is harmless', async () => {
      const controller = new AbortController()
      const run = mixer.mix({
        ...longRequest,
        signal: controller.signal,
        onProgress: () => controller.abort('from inside'),
      })
      assert.equal(await failureOf(run), 'from inside')

      const late = new AbortController()
      const mix = await mixer.mix({ ...smallRequest, signal: late.signal })
      late.abort()
      assert.deepEqual(mix.data, expected.data)
    })
  })

  describe('a queue', () => {
    it('is first come, first served, and one run does not speak for another', async () => {
      const order: string[] = []
      const runs = [0, 1, 2].map(async (seed) => {
        const onProgress = ({ stage }: ProgressEvent) => {
          if (order.at(-1) !== `${seed} ${stage}`) order.push(`${seed} ${stage}`)
        }
        const mix = await mixer.mix({ ...smallRequest, seed, onProgress })
        order.push(`${mix.seed} ended`)
      })
      await Promise.all(runs)
      assert.deepEqual(
        order.filter((entry) => entry.endsWith('ended')),
        ['0 ended', '1 ended', '2 ended'],
      )
      const seeds = order.map((entry) => entry[0])
      for (const seed of ['0', '1', '2']) {
        const last = seeds.lastIndexOf(seed)
        assert.equal(order[last], `${seed} ended`, 'its end is the last that is heard of a run')
      }
    })

    it('is in the order of the calls among those whose layout has been read', async () => {
      const slow = new PassThrough()
      const picture = await readFile(fixture('landscape64.png'))
      const order: number[] = []
      const mixOf = (i: number, layout: LayoutPicture | LayoutPrompt) =>
        mixer.mix({ ...smallRequest, layout }).then(
          () => order.push(i),
          () => order.push(-i),
        )
      const runs = [slow, { prompt: 'a hill' }, 'missing.png', { prompt: 'a tree' }].map(
        (layout, i) => mixOf(i + 1, layout),
      )
      await Promise.all(runs.slice(1))
      slow.end(picture)
      await runs[0]
      assert.deepEqual(order, [-3, 2, 4, 1])
    })

    it('is one for each mixer', async () => {
      const options = await tinyOptions()
      const others = await Promise.all([MagicMix.load(options), MagicMix.load(options)])
      const mixes = await Promise.all([mixer, ...others].map((each) => each.mix(smallRequest)))
      for (const { data } of mixes) assert.deepEqual(data, expected.data)
      // One that is disposed of leaves the others alone.
      const running = others[1].mix(smallRequest)
      await others[0].dispose()
      assert.deepEqual((await running).data, expected.data)
      await others[1].dispose()
      await mixesAsBefore()
    })
  })

  describe('disposing', () => {
    it('stops what runs and what waits', async () => {
      const other = await MagicMix.load(await tinyOptions())
      const started = signalOfStart()
      const runs = [
        other.mix({ ...longRequest, onProgress: started.onProgress }),
        other.mix(longRequest),
        other.mix(longRequest),
      ]
      const failures = Promise.all(runs.map(failureOf))
      await started.happened
      await other.dispose()
      for (const failure of await failures) assert.equal(codeOf(failure), 'DISPOSED')
    })

    it('may be done twice, and nothing may be done after', async () => {
      const other = await MagicMix.load(await tinyOptions())
      await Promise.all([other.dispose(), other.dispose()])
      await other.dispose()
      const failure = await failureOf(other.mix(smallRequest))
      assert.equal(codeOf(failure), 'DISPOSED')
      assert.match((failure as Error).stack ?? '', /lifecycle\.test/)
      assert.throws(() => other.tokenize('a hill'), { code: 'DISPOSED' })
      assert.equal(other.model.family, 'sd1')
    })

    it('happens at the end of a block', async () => {
      let kept: MagicMix
      {
        await using other = await MagicMix.load(await tinyOptions())
        kept = other
        assert.deepEqual((await other.mix(smallRequest)).data, expected.data)
      }
      assert.equal(codeOf(await failureOf(kept.mix(smallRequest))), 'DISPOSED')
    })

    it('goes together with aborting', async () => {
      const other = await MagicMix.load(await tinyOptions())
      const controller = new AbortController()
      const started = signalOfStart()
      const run = failureOf(
        other.mix({
          ...longRequest,
          signal: controller.signal,
          onProgress: started.onProgress,
        }),
      )
      await started.happened
      controller.abort('first')
      await other.dispose()
      assert.equal(await run, 'first')
    })
  })

  describe('a process', () => {
    it('ends when nothing runs, though a model is loaded', async () => {
      const ended = await runProgram(`
        MagicMix.load(options).then((mixer) => {
          globalThis.mixer = mixer
          console.log('loaded')
        })`)
      assert.deepEqual(ended, wellEnded('loaded'))
    })

    it('stays while a mix is awaited', async () => {
      const ended = await runProgram(`
        MagicMix.load(options)
          .then((mixer) => mixer.mix({ ...request, steps: 20 }))
          .then((mix) => console.log(mix.data.length))`)
      assert.deepEqual(ended, wellEnded(String(64 * 64 * 3)))
    })

    it('ends in the middle of a run with its own exit code', async () => {
      // Several mixers: a thread that outlives what it computes with crashes only now and then.
      const exits = async () => {
        const delay = Math.round(Math.random() * 60)
        const ended = await runProgram(`
          let started = 0
          const mixes = async () => {
            const mixer = await MagicMix.load(options)
            let first = true
            const onProgress = () => {
              if (first && ++started === 4) setTimeout(() => process.exit(7), ${delay})
              first = false
            }
            await mixer.mix({ ...request, steps: 500, previewEvery: 1, onProgress })
          }
          for (let i = 0; i < 4; i++) mixes()`)
        const nothing = { code: 7, signal: null, stdout: '', stderr: '' }
        assert.deepEqual(ended, nothing, `after ${delay} ms`)
      }
      for (let i = 0; i < 8; i++) await Promise.all([exits(), exits()])
    })

    it('ends while a model loads with its own exit code', async () => {
      for (const delay of [0, 50, 150]) {
        const ended = await runProgram(`
          MagicMix.load(options)
          setTimeout(() => process.exit(7), ${delay})`)
        const nothing = { code: 7, signal: null, stdout: '', stderr: '' }
        assert.deepEqual(ended, nothing, `after ${delay} ms`)
      }
    })

    it('ends with the error that nobody caught', async () => {
      const ended = await runProgram(`
        MagicMix.load(options).then((mixer) => {
          const onProgress = () => setTimeout(() => { throw new Error('uncaught') })
          mixer.mix({ ...request, steps: 500, onProgress })
        })`)
      assert.deepEqual([ended.code, ended.signal], [1, null])
      assert.match(ended.stderr, /Error: uncaught/)
    })

    it('hears nothing from native code', async () => {
      const ended = await runProgram(`
        ;(async () => {
          const mixer = await MagicMix.load(options)
          await mixer.mix({ ...request, previewEvery: 1, onProgress() {} })
          const signal = AbortSignal.timeout(30)
          await mixer.mix({ ...request, steps: 500, signal }).catch(() => {})
          await mixer.dispose()
          await MagicMix.load({ ...options, model: __filename }).catch(() => {})
          await MagicMix.load({ ...options, model: process.execPath }).catch(() => {})
          console.log('done')
        })()`)
      assert.deepEqual(ended, wellEnded('done'))
    })

    it('collects forgotten mixers by itself, since it is told what they hold', async function () {
      if (process.platform !== 'linux') this.skip()
      const { stdout } = await runProgram(`
        const { readdirSync } = require('node:fs')
        const threads = () => readdirSync('/proc/self/task').length
        ;(async () => {
          await (await MagicMix.load(options)).dispose() // whatever Node starts, it has started
          const before = threads()
          for (let i = 0; i < 20; i++) await (await MagicMix.load(options)).mix(request)
          console.log(threads() - before)
          process.exit()
        })()`)
      assert.ok(Number(stdout) < 10, `${stdout.trim()} of 20 mixers are still there`)
    })

    it('gets the thread and the memory of a forgotten mixer back', async function () {
      if (process.platform !== 'linux') this.skip()
      const ended = await runProgram(
        `
        const { readdirSync } = require('node:fs')
        const threads = () => readdirSync('/proc/self/task').length
        ;(async () => {
          await (await MagicMix.load(options)).dispose() // whatever Node starts, it has started
          await pause(100) // a thread that was joined leaves /proc a moment later
          const before = threads()
          const mixers = []
          for (let i = 0; i < 3; i++) mixers.push(await MagicMix.load(options))
          await Promise.all(mixers.map((mixer) => mixer.mix(request)))
          if (threads() !== before + 3) throw new Error('a mixer has a thread of its own')
          mixers.length = 0
          for (let i = 0; i < 200 && threads() > before; i++) {
            gc()
            await pause(10)
          }
          console.log(threads() - before)
        })()`,
        ['--expose-gc'],
      )
      assert.deepEqual(ended, wellEnded('0'))
    })

    it('collects no mixer that runs', async () => {
      const ended = await runProgram(
        `
        const collecting = setInterval(gc, 5)
        MagicMix.load(options)
          .then((mixer) => mixer.mix({ ...request, onProgress() {} }))
          .then((mix) => {
            clearInterval(collecting)
            console.log(mix.data.length)
          })`,
        ['--expose-gc'],
      )
      assert.deepEqual(ended, wellEnded(String(64 * 64 * 3)))
    })
  })

  describe('worker threads', () => {
    /** What a worker thread does: loads, and mixes for as long as it lives. */
    const inWorker = `
      const { parentPort } = require('node:worker_threads')
      parentPort.postMessage('loading')
      MagicMix.load(options).then(async (mixer) => {
        for (;;) {
          const onProgress = () => parentPort.postMessage('mixing')
          const mix = await mixer.mix({ ...request, previewEvery: 1, onProgress })
          parentPort.postMessage(Buffer.from(mix.data).toString('base64'))
        }
      })`

    it('mix side by side with the main thread', async () => {
      const ended = await runWithWorkers(
        inWorker,
        `
        const inThread = () => new Promise((resolve, reject) => {
          const worker = new Worker(source, { eval: true })
          worker.once('error', reject)
          worker.on('message', (message) => {
            if (message.length > 10) worker.terminate().then(() => resolve(message))
          })
        })
        const here = async () => {
          const mixer = await MagicMix.load(options)
          return Buffer.from((await mixer.mix(request)).data).toString('base64')
        }
        Promise.all([inThread(), here(), inThread()]).then((mixes) => {
          console.log(new Set(mixes).size, mixes[0])
        })`,
      )
      const pixels = Buffer.from(expected.data).toString('base64')
      assert.deepEqual(ended, wellEnded(`1 ${pixels}`))
    })

    it('may be terminated at any moment', async () => {
      const ended = await runWithWorkers(
        inWorker,
        `
        const terminated = async (when) => {
          const worker = new Worker(source, { eval: true })
          await new Promise((resolve) => {
            worker.on('message', (message) => { if (message === when) resolve() })
          })
          await pause(Math.random() * 100)
          await worker.terminate()
        }
        ;(async () => {
          for (let i = 0; i < 10; i++) {
            await Promise.all([terminated('loading'), terminated('mixing')])
          }
          const mixer = await MagicMix.load(options)
          console.log((await mixer.mix(request)).data.length)
        })()`,
      )
      assert.deepEqual(ended, wellEnded(String(64 * 64 * 3)))
    })

    it('end by themselves when nothing runs, though a model is loaded', async () => {
      const ended = await runWithWorkers(
        `MagicMix.load(options).then((mixer) => (globalThis.mixer = mixer))`,
        `new Worker(source, { eval: true }).once('exit', (code) => console.log('exit', code))`,
      )
      assert.deepEqual(ended, wellEnded('exit 0'))
    })
  })
})

/** Runs a program that has `Worker` and the `source` of a worker thread at hand. */
async function runWithWorkers(inWorker: string, body: string) {
  const source = JSON.stringify(await programOf(inWorker))
  return runProgram(`const { Worker } = require('node:worker_threads')
    const source = ${source}
    ${body}`)
}

/** An `onProgress`, and a promise of its first call. */
function signalOfStart() {
  let onProgress: () => void = () => undefined
  const happened = new Promise<void>((resolve) => (onProgress = resolve))
  return { onProgress: () => onProgress(), happened }
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  return assert.fail('it did not fail')
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code
}
