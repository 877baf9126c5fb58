/** How the evaluations of models/ measure likeness, against scikit-image 0.26. */
import assert from 'node:assert/strict'

import type { Picture } from 'magicmix'

import { psnr, ssim } from '../models/eval/metrics.js'

describe('metrics', () => {
  const one = picture((x, y, c) => 7 * x + 5 * y + 40 * c + ((x * y) % 31))
  const other = picture(
    (x, y, c) =>
      (((7 * x + 5 * y + 40 * c + ((x * y) % 31)) % 256) * 3 + ((13 * x * y + 29 * c) % 256)) >> 2,
  )

  it('PSNR is that of peak_signal_noise_ratio', () => {
    assert.ok(Math.abs(psnr(one, other) - 19.775526142830472) < 1e-9, `${psnr(one, other)}`)
    assert.equal(psnr(one, one), Infinity)
  })

  it('SSIM is that of structural_similarity with a Gaussian window, on luma', () => {
    assert.ok(Math.abs(ssim(one, other) - 0.7063882740399203) < 1e-9, `${ssim(one, other)}`)
    assert.equal(ssim(one, one), 1)
  })

  it('compares only pictures of one size', () => {
    const small = { width: 16, height: 16, data: one.data.subarray(0, 3 * 16 * 16) }
    for (const compare of [psnr, ssim]) assert.throws(() => compare(one, small), /different sizes/)
  })
})

/** 40 x 32, of a formula that the reference was given too. */
function picture(level: (x: number, y: number, channel: number) => number): Picture {
  const [width, height] = [40, 32]
  const data = Buffer.alloc(3 * width * height)
  for (let i = 0; i < data.length; i++) {
    const pixel = Math.floor(i / 3)
    data[i] = level(pixel % width, Math.floor(pixel / width), i % 3) % 256
  }
  return { width, height, data }
}
