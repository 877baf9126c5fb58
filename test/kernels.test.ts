/**
 * The CPU kernels against plain loops in double precision: random shapes, strides and paddings,
 * every storage, large and equal logits, means that swamp the deviation. See kernels/check.cpp.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'

import { builtProgram } from './support/package-root.js'

describe('kernels', function () {
  this.timeout(300_000)
  for (const seed of [1, 2, 3]) {
    it(`are as exact as their types, seed ${seed}`, () => {
      const { status, stdout } = spawnSync(builtProgram('kernels_check'), [String(seed)], {
        encoding: 'utf8',
      })
      const lines = stdout.trim().split('\n')
      if (seed === 1) for (const line of lines) console.log(`      ${line}`)
      const wrong = lines.filter((line) => !line.startsWith('ok'))
      assert.deepEqual(wrong, [])
      assert.equal(status, 0)
      assert.ok(lines.some((line) => line.includes('portable product')))
    })
  }
})
