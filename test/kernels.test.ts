/**
 * The CPU kernels against plain loops in double precision: random shapes, strides and paddings,
 * every storage, large and equal logits, means that swamp the deviation. See kernels/check.cpp.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import path from 'node:path'

import { packageRoot } from './support/package-root.js'

const build = path.join(packageRoot, 'build')
const program = 'kernels_check'

describe('kernels', function () {
  this.timeout(300_000)
  let check: string
  before(() => {
    execFileSync('cmake', ['--build', build, '--target', program, '--config', 'Release'])
    const found = execFileSync('find', [build, '-name', program, '-type', 'f'], {
      encoding: 'utf8',
    })
    check = found.trim()
  })

  for (const seed of [1, 2, 3]) {
    it(`are as exact as their types, seed ${seed}`, () => {
      const { status, stdout } = spawnSync(check, [String(seed)], { encoding: 'utf8' })
      const lines = stdout.trim().split('\n')
      if (seed === 1) for (const line of lines) console.log(`      ${line}`)
      const wrong = lines.filter((line) => !line.startsWith('ok'))
      assert.deepEqual(wrong, [])
      assert.equal(status, 0)
      assert.ok(lines.some((line) => line.includes('portable product')))
    })
  }
})
