/** Threads: what they compute, how many there can be, and what happens if there is none. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'

import { MagicMix } from 'magicmix'

import { nativeOf } from './support/native.js'
import { programOf, runNode, tinyOptions } from './support/programs.js'
import { packageRoot } from './support/package-root.js'
import { smallMix } from './support/small-mix.js'

describe('threads', function () {
  this.timeout(120_000)

  it('of any number give the same bits', async () => {
    for (const precision of ['f32', 'bf16', 'q8_0'] as const) {
      await using one = await MagicMix.load({ ...(await tinyOptions()), precision, threads: 1 })
      await using many = await MagicMix.load({ ...(await tinyOptions()), precision, threads: 1024 })
      const [expected, actual] = [await smallMix(one), await smallMix(many)]
      assert.deepEqual(actual.data, expected.data)
      assert.deepEqual(actual.trace.at(-1)!.latent, expected.trace.at(-1)!.latent)
    }
  })

  it('are shared by mixers that mix at once', async () => {
    const mixers = await Promise.all(
      Array.from({ length: 5 }, async () =>
        MagicMix.load({ ...(await tinyOptions()), threads: 1024 }),
      ),
    )
    const expected = await smallMix(mixers[0]!)
    const all = await Promise.all(
      mixers.flatMap((mixer) => Array.from({ length: 3 }, () => smallMix(mixer))),
    )
    for (const mix of all) assert.deepEqual(mix.data, expected.data)
    for (const mixer of mixers) await mixer.dispose()
  })

  // A limit is not for root, so another user runs this, who has no other processes.
  const limited = process.getuid?.() === 0 && existsSync('/usr/bin/prlimit')
  const nobody = 65534
  const atMost = async (more: number) =>
    programOf(`
      process.setgid(${nobody}); process.setuid(${nobody})
      const { readFileSync } = require('node:fs')
      const own = () => Number(/Threads:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
      ;(async () => {
        // Node makes its own threads when they are first needed.
        await Promise.all([1, 2, 3, 4].map(() => require('node:fs').promises.readFile('/proc/self/stat')))
        await MagicMix.load({ model: '/nowhere' }).catch(() => undefined)
        const { execFileSync } = require('node:child_process')
        const limit = own() + ${more}
        execFileSync('prlimit', ['--pid', process.pid, '--nproc=' + limit + ':' + limit])
        const before = own()
        const mixer = await MagicMix.load({ ...options, threads: 1024 })
        const mix = await mixer.mix(request)
        console.log(own() - before, mixer.model.threads, mix.width)
      })().catch((error) => console.log(error.code, error.message))`)

  it('that the system refuses are done without', async function () {
    if (!limited) return this.skip()
    const { stdout, signal } = await runNode(['-e', await atMost(1)], packageRoot)
    assert.equal(signal, null)
    assert.equal(stdout, '1 1 64\n') // the mixer's own thread, and none to help it
  })

  it('of which there is none are an error', async function () {
    if (!limited) return this.skip()
    const { stdout, signal } = await runNode(['-e', await atMost(0)], packageRoot)
    assert.equal(signal, null)
    assert.match(stdout, /^OUT_OF_THREADS .*ulimit -u.*--pids-limit/)
  })
})

describe('a native mixer', () => {
  it('is made by load alone', async () => {
    await using mixer = await MagicMix.load(await tinyOptions())
    const native = nativeOf(mixer)
    const Native = native.constructor as new (...things: unknown[]) => unknown
    for (const things of [[], [native], [{}], [null], [native.info]]) {
      assert.throws(() => new Native(...things), /only load makes a mixer/)
    }
  })
})
