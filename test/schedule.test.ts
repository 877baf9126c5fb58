/** Noise schedules against the numbers of diffusers' schedulers (test/fixtures/schedules.json). */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'

import { native, packageRoot } from './support/native.js'

interface Case {
  id: string
  spacing: 'leading' | 'trailing' | 'linspace'
  final: 'one' | 'first'
  steps: number
  zeroSnr?: boolean
  /** Of every state; and of where a step ends, if that is not the next state's. */
  schedule: { timesteps: number[]; alphaBar: number[]; alphaBarAfterStep?: number[] }
}

const fixture = path.join(packageRoot, 'test', 'fixtures', 'schedules.json')
const cases = JSON.parse(readFileSync(fixture, 'utf8')) as Case[]

describe('noise schedules', () => {
  for (const { id, spacing, final, steps, zeroSnr = false, schedule } of cases) {
    it(id, () => {
      const found = native.schedule(steps, {
        spacing,
        endsClean: final === 'one',
        zeroTerminalSnr: zeroSnr,
      })
      const { timesteps, alphaBar, alphaBarAfterStep = alphaBar.slice(1) } = schedule
      assert.deepEqual([...found.timesteps], timesteps)
      assertClose(found.alphaBar, alphaBar.slice(0, steps))
      assertClose(found.alphaBarNext, alphaBarAfterStep)
    })
  }

  it('of linear betas end where their product does', () => {
    const beta = (t: number) => 0.00085 + ((0.012 - 0.00085) * t) / 999
    const product = (end: number) =>
      Array.from({ length: end + 1 }, (_, t) => 1 - beta(t)).reduce((a, b) => a * b)
    const { timesteps, alphaBar } = native.schedule(10, { betas: 'linear' })
    assertClose(alphaBar, Array.from(timesteps, product))
  })

  it('refuses what it does not know, and timesteps that were not trained', () => {
    const schedule = (steps: number, options: object) => () => native.schedule(steps, options)
    const unsupported = { code: 'MODEL_UNSUPPORTED' }
    assert.throws(schedule(5, { spacing: 'karras' }), unsupported)
    assert.throws(schedule(5, { betas: 'squaredcos_cap_v2' }), unsupported)
    assert.throws(schedule(999, { stepsOffset: 2 }), { code: 'INVALID_ARGUMENT' })
    assert.throws(schedule(1000, { spacing: 'trailing' }), { code: 'INVALID_ARGUMENT' })
  })
})

function assertClose(found: ArrayLike<number>, expected: readonly number[]): void {
  assert.equal(found.length, expected.length)
  for (const [i, value] of expected.entries()) {
    const difference = Math.abs((found[i] as number) - value)
    assert.ok(difference <= 1e-9 * Math.max(value, 1e-3), `${i}: ${found[i]}, not ${value}`)
  }
}
