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
          const noise = native.randn(golden.seed, golden.count)
          const { values, first, last } = golden.outputs
          if (values) assertAlmostEqual(noise, valuesOf(values))
          if (first) assertAlmostEqual(noise.slice(0, 64), valuesOf(first))
          if (last) assertAlmostEqual(noise.slice(-64), valuesOf(last))
          if (golden.checksum !== undefined) {
            // A value that lies on a boundary of rounding may fall to either side of it.
            const room = 251 * (golden['values_within_1e-6_of_a_rounding_boundary'] ?? 0)
            const error = Math.abs(checksum(noise) - golden.checksum)
            assert.ok(error <= room, `checksum is off by ${error}`)
          }
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

  function checksum(values: Float32Array): number {
    return values.reduce((sum, value, i) => sum + Math.round(8 * value) * ((i % 251) + 1), 0)
  }

  function assertAlmostEqual(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
    const found = difference(actual, expected)
    assert.ok(found.maxAbs <= 1e-6, `largest difference ${found.maxAbs} at ${found.worstIndex}`)
  }
})

// One thread: more would wait for each other most of the time with so small a model, and the longer
// the busier the machine is. The slow tests use all cores.
describeGolden('tiny', async (precision) =>
  MagicMix.load({
    model: await tinyModel(),
    config: tinyHeads,
    device: 'cpu',
    precision,
    threads: 1,
  }),
)
