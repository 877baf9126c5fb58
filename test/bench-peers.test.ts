/** What bench/peers makes of what others print, and of what is not there. */
import assert from 'node:assert/strict'

import { PeerMissing, diffusers, sdcpp, sdcppLog } from '../bench/peers/peers.js'

describe('bench of peers', () => {
  it('reads the seconds that stable-diffusion.cpp prints', () => {
    const log = [
      '[INFO ] a.cpp:1 - encode_first_stage completed, taking 3.25s',
      '\r  |====>   | 1/3 - 9.00s/it\x1b[K\r  |=======> | 2/3 - 4.50s/it\x1b[K\r  |=========| 3/3 - 5.50s/it',
      '[INFO ] a.cpp:1 - sampling completed, taking 19.00s',
      '[INFO ] a.cpp:1 - latent 1 decoded, taking 7.00s',
      '[INFO ] a.cpp:1 - decode_first_stage completed, taking 7.10s',
      '[INFO ] a.cpp:1 - generate_image completed in 29.50s',
    ].join('\n')
    assert.deepEqual(sdcppLog(log), { encode: 3.25, step: 5.5, decode: 7.1, whole: 29.5 })
    const fast = '1/2 - 2.00it/s\n2/2 - 4.00it/s\nencode_first_stage completed, taking 1500 ms'
    assert.deepEqual(sdcppLog(fast), { encode: 1.5, step: 0.25, decode: null, whole: null })
    assert.throws(() => sdcppLog('error: no model'), /printed no step.*\nerror: no model/)
  })

  it('names what is not there', async () => {
    const missing = (message: RegExp) => (error: unknown) => {
      assert.ok(error instanceof PeerMissing, String(error))
      assert.match(error.message, message)
      return true
    }
    await assert.rejects(
      sdcpp('/nowhere', []),
      missing(/'\/nowhere' \(--sdcpp\).*build\/bin\/sd-cli/),
    )
    await assert.rejects(diffusers('/nowhere', 'eager'), missing(/'\/nowhere' \(--diffusers\)/))
    await assert.rejects(diffusers('python3', 'lazy'), missing(/variant 'lazy'.*eager/))
  })
})
