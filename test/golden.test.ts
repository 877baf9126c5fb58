import assert from 'node:assert/strict'

import { MagicMix } from 'magicmix'

import { describeGolden } from './support/golden.js'
import { difference } from './support/closeness.js'
import { commonCases, valuesOf } from './support/manifest.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { native } from './support/native.js'

describe('golden numbers: noise and schedules', () => {
  for (const golden of commonCases) {
    switch (golden.kind) {
      case 'randn':
        it(golden.id, () => {
          const found = difference(
            native.randn(golden.seed, golden.count),
            valuesOf(golden.outputs.values),
          )
          assert.ok(found.maxAbs <= 1e-6, `largest difference ${found.maxAbs}`)
        })
        break
      case 'schedule':
        it(golden.id, () => {
          const { timesteps, alphaBar, alphaBarNext } = native.schedule(golden.steps)
          const { outputs } = golden
          assert.deepEqual([...timesteps], Array.from(valuesOf(outputs.timesteps)))
          assertAlmostEqual(alphaBar, valuesOf(outputs.abar))
          assertAlmostEqual(alphaBarNext, valuesOf(outputs.abar_prev))
        })
        break
      case 'schedule_table':
        it(golden.id, () => {
          // With 999 steps the schedule visits every timestep from 999 to 1, and ends at 0.
          const { alphaBar, alphaBarNext } = native.schedule(999)
          const table = [...alphaBar, alphaBarNext[998] ?? NaN].reverse()
          assertAlmostEqual(table, valuesOf(golden.outputs.alphas_cumprod))
        })
        break
      case 'weights':
        break // see formula-model.test.ts
    }
  }

  function assertAlmostEqual(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
    const found = difference(actual, expected)
    assert.ok(found.maxAbs <= 1e-6, `largest difference ${found.maxAbs} at ${found.worstIndex}`)
  }
})

describeGolden('tiny', async (precision) =>
  MagicMix.load({ model: await tinyModel(), config: tinyHeads, device: 'cpu', precision }),
)
