/**
 * Whatever a program asks for, it gets a picture or an error with a code. MAGICMIX_RUNS says how
 * many requests are tried.
 */
import assert from 'node:assert/strict'

import fc from 'fast-check'

import { MagicMix, MagicMixError } from 'magicmix'

import { anyLoadOptions, anyRequest, anyVary } from './support/any-request.js'
import { smallRequest, tinyOptions } from './support/programs.js'

const numRuns = Number(process.env.MAGICMIX_RUNS ?? 10_000)

function assertCoded(error: unknown): void {
  assert.ok(error instanceof MagicMixError, `${String(error)}: ${(error as Error)?.stack}`)
  assert.notEqual(error.code, 'INTERNAL', error.message)
  assert.ok(error.message.length < 2000)
  assert.ok(JSON.stringify(error).length < 20_000)
}

describe('any request', function () {
  this.timeout(0)
  let mixer: MagicMix
  before(async () => {
    mixer = await MagicMix.load({ ...(await tinyOptions()), timeLimit: 1000 })
  })
  after(() => mixer.dispose())

  it('gives a picture or a coded error', async () => {
    let pictures = 0
    await fc.assert(
      fc.asyncProperty(anyRequest, async (request) => {
        try {
          const { data, width, height } = await mixer.mix(request as never)
          assert.equal(data.length, width * height * 3)
          pictures++
        } catch (error) {
          assertCoded(error)
        }
      }),
      { numRuns },
    )
    console.log(`      ${pictures} of ${numRuns} gave a picture`)
    assert.ok(pictures > numRuns / 100)
    assert.deepEqual(mixer.queue, { running: 0, waiting: 0 })
    assert.equal((await mixer.mix({ ...smallRequest, steps: 1, kMax: 1 })).width, 64)
  })

  it('to sweep gives a plan or a coded error', () => {
    let plans = 0
    fc.assert(
      fc.property(anyRequest, anyVary, (request, vary) => {
        try {
          const { plan } = mixer.sweep({ ...(request as object), vary } as never)
          assert.ok(plan.unetCalls > 0 && plan.unetCalls <= plan.unetCallsOfSingleMixes)
          plans++
        } catch (error) {
          assertCoded(error)
        }
      }),
      { numRuns },
    )
    assert.ok(plans > numRuns / 200, `${plans} of ${numRuns}`)
  })

  it('to load gives a mixer or a coded error', async () => {
    await fc.assert(
      fc.asyncProperty(anyLoadOptions, async (options) => {
        await MagicMix.load(options as never).then((mixer) => mixer.dispose(), assertCoded)
      }),
      { numRuns: numRuns / 5 },
    )
  })
})
