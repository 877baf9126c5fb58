/** Mixers in processes of their own: the same as others, but for what a crash ends. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'

import { MagicMix, type MixRequest } from 'magicmix'

import { fixture } from './support/package-root.js'
import { runProgram, smallRequest, tinyOptions, wellEnded } from './support/programs.js'
import { coded } from './support/refusals.js'

const long: MixRequest = { ...smallRequest, steps: 500 }

describe('an isolated mixer', function () {
  this.timeout(120_000)
  if (process.platform === 'win32') return

  const children = () =>
    execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes('isolate/child.js'))
      .map((line) => parseInt(line, 10))

  const load = async (options = {}) =>
    MagicMix.load({ ...(await tinyOptions()), isolate: true, ...options })

  it('mixes as any other does', async () => {
    await using here = await MagicMix.load(await tinyOptions())
    await using there = await load()
    assert.deepEqual(there.model, here.model)
    for (const layout of [fixture('landscape64.png'), { prompt: 'a hill' }]) {
      const stages = [new Set<string>(), new Set<string>()] as const
      const previews = [new Map<string, string>(), new Map<string, string>()] as const
      const [expected, mix] = await Promise.all(
        [here, there].map((mixer, i) =>
          mixer.mix({
            ...{ ...smallRequest, layout, trace: true, previewEvery: 1 },
            onProgress({ stage, step, preview }) {
              stages[i]!.add(stage)
              if (preview) previews[i]!.set(`${stage} ${step}`, String(preview.data))
            },
          }),
        ),
      )
      assert.deepEqual(mix!.data, expected!.data)
      assert.deepEqual(mix!.trace, expected!.trace)
      assert.deepEqual(stages[1], stages[0])
      // A busy thread is told of a stage's latest event only, so either may lack some, but not the last.
      const both = [...previews[0].keys()].filter((key) => previews[1].has(key))
      assert.ok(both.includes([...previews[0].keys()].at(-1)!), both.join())
      for (const key of both) assert.equal(previews[1].get(key), previews[0].get(key), key)
    }
    const { layout: _, content: __, ...rest } = smallRequest
    const several: MixRequest = {
      ...rest,
      layouts: [fixture('landscape64.png'), { picture: fixture('landscape256.png'), weight: 0.5 }],
      contents: [{ prompt: 'a corgi' }, { prompt: 'a loaf', weight: 0.5 }],
      nu: { from: 0.2, to: 0.9 },
      ...{ nuMap: fixture('landscape64.png'), kMaxMap: fixture('landscape256.png') },
    }
    assert.deepEqual((await there.mix(several)).data, (await here.mix(several)).data)
    await assert.rejects(there.mix({ ...smallRequest, loras: [{ file: 'no' }] }), {
      code: 'MODEL_NOT_FOUND',
    })
  })

  it('says what is wrong with a model', async () => {
    await assert.rejects(load({ model: __filename }), { code: 'MODEL_FORMAT' })
    await assert.rejects(load({ device: 'cuda:99' }), { code: 'DEVICE_UNAVAILABLE' })
    assert.deepEqual(children(), [])
  })

  it('survives the death of its process, in a mix and in between', async () => {
    await using mixer = await load()
    const { data } = await mixer.mix(smallRequest)
    const [first] = children()
    const begun = new Promise<void>((resolve) => {
      const mixing = mixer.mix({ ...long, onProgress: () => resolve() })
      void assert.rejects(mixing, coded('DEVICE_FAILED', /own process has ended \(SIGSEGV\)/))
    })
    const waiting = mixer.mix(smallRequest)
    await begun
    process.kill(first!, 'SIGSEGV')
    assert.deepEqual((await waiting).data, data)

    const [second] = children()
    assert.notEqual(second, first)
    process.kill(second!, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.deepEqual((await mixer.mix(smallRequest)).data, data)
    assert.equal(children().length, 1)
  })

  it('ends with its signal, and with dispose', async () => {
    const mixer = await load()
    const reason = new Error('enough')
    const controller = new AbortController()
    const aborted = mixer.mix({
      ...{ ...long, signal: controller.signal },
      onProgress: () => controller.abort(reason),
    })
    await assert.rejects(aborted, (error) => error === reason)
    await mixer.mix(smallRequest)
    const running = mixer.mix(long)
    const ended = assert.rejects(running, { code: 'DISPOSED' })
    await mixer.dispose()
    await ended
    assert.deepEqual(children(), [])
    await assert.rejects(mixer.mix(smallRequest), { code: 'DISPOSED' })
  })

  it('keeps a program while it mixes, and not for longer', async () => {
    const ended = await runProgram(`
      MagicMix.load({ ...options, isolate: true })
        .then((mixer) => mixer.mix(request))
        .then(({ width }) => console.log(width))`)
    assert.deepEqual(ended, wellEnded('64'))
  })

  it('ends a mix at once that waits for another process to load', async () => {
    await using mixer = await load()
    process.kill(children()[0]!, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const reason = new Error('enough')
    const controller = new AbortController()
    const mixing = mixer.mix({ ...smallRequest, signal: controller.signal })
    setImmediate(() => controller.abort(reason))
    await assert.rejects(mixing, (error) => error === reason)
    assert.equal((await mixer.mix(smallRequest)).width, 64)
  })

  it('is not made in a process that is one already, which would have no end', async () => {
    process.env.MAGICMIX_ISOLATED = '1'
    try {
      const refused = coded('DEVICE_UNAVAILABLE', /itself that of an isolated mixer/)
      await assert.rejects(load(), refused)
    } finally {
      delete process.env.MAGICMIX_ISOLATED
    }
  })

  it('ends when it is forgotten', async () => {
    const ended = await runProgram(
      `
      const { execFileSync } = require('node:child_process')
      const children = () =>
        execFileSync('ps', ['-o', 'args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
          .split('\\n').filter((line) => line.includes('isolate/child.js')).length
      ;(async () => {
        await (async () => (await MagicMix.load({ ...options, isolate: true })).mix(request))()
        const before = children()
        for (let i = 0; i < 200 && children() > 0; i++) {
          gc()
          await pause(10)
        }
        console.log(before, children())
      })()`,
      ['--expose-gc'],
    )
    assert.deepEqual(ended, wellEnded('1 0'))
  })
})
