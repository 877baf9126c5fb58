/** Named sets of cheaper calls. */
import assert from 'node:assert/strict'

import { MagicMix, type MixRequest, recipe, requestSchema } from 'magicmix'

import { tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'

const request = { layout: fixture('landscape64.png'), content: 'a corgi', width: 64, height: 64 }
const { fast: _, ...off } = recipe({ ...request, seed: 1 })

/** What a request turns out to be, beside what it is without a set. */
function setOf(given: Partial<MixRequest>): Partial<MixRequest> {
  const filled = Object.entries(recipe({ ...request, seed: 1, ...given }))
  return Object.fromEntries(
    filled.filter(([name, value]) => {
      const without = off[name as keyof typeof off]
      return name !== 'fast' && JSON.stringify(value) !== JSON.stringify(without)
    }),
  )
}

describe('fast', () => {
  it('is off, and changes nothing then', () => {
    assert.equal(recipe(request).fast, 'off')
    assert.deepEqual(setOf({ fast: 'off' }), {})
    assert.deepEqual([off.cache, off.guidanceInterval], [null, [0, 1]])
  })

  it('is a set of other options, which the recipe says', () => {
    assert.deepEqual(setOf({ fast: 'safe' }), {
      cache: { every: 3, whileMixing: 2, blocks: 1 },
    })
    assert.deepEqual(setOf({ fast: 'max' }), {
      cache: { every: 5, whileMixing: 3, blocks: 1 },
    })
  })

  it('yields to what is given beside it', () => {
    assert.deepEqual(setOf({ fast: 'safe', cache: null }), {})
    assert.deepEqual(setOf({ fast: 'max', guidanceInterval: [0.3, 0.6] }), {
      cache: { every: 5, whileMixing: 3, blocks: 1 },
      guidanceInterval: [0.3, 0.6],
    })
    const cache = { every: 7, whileMixing: 6, blocks: 2 }
    assert.deepEqual(setOf({ fast: 'max', cache }), { cache })
  })

  it('comes back from a filled-in request', () => {
    const filled = recipe({ ...request, seed: 1, fast: 'max' })
    assert.deepEqual(recipe(JSON.parse(JSON.stringify(filled)) as MixRequest), filled)
    const { fast } = requestSchema['properties'] as Record<string, object>
    assert.deepEqual((fast as { enum: string[] }).enum, ['off', 'safe', 'max'])
  })

  it('is refused where steps are few by nature', () => {
    for (const sampler of ['lcm', 'tcd'] as const) {
      const message = new RegExp(`sampler is '${sampler}'.*for fast but received 'safe'`)
      const refused = coded('INVALID_ARGUMENT', message)
      assert.throws(() => recipe({ ...request, sampler, fast: 'safe' }), refused)
      assert.equal(recipe({ ...request, sampler, fast: 'off' }).fast, 'off')
    }
  })

  it('makes the mix that its options make', async () => {
    const model = await tinyModel()
    await using mixer = await MagicMix.load({ model, config: tinyHeads, threads: 1 })
    const wanted = { ...request, seed: 1, steps: 10 }
    for (const fast of ['safe', 'max'] as const) {
      const mix = await mixer.mix({ ...wanted, fast })
      assert.equal(mix.request.fast, fast)
      const { cache, guidanceInterval } = mix.request
      const spelled = await mixer.mix({ ...wanted, cache, guidanceInterval })
      assert.deepEqual(spelled.data, mix.data)
      assert.deepEqual(spelled.unetCalls, mix.unetCalls)
      assert.ok(mix.unetCalls.cached > 0)
    }
  })
})
