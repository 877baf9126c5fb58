/** The samplers, against diffusers' schedulers of these names. `samplers.slow` runs the other cases. */
import assert from 'node:assert/strict'

import { MagicMix, recipe } from 'magicmix'
import type { MixRequest } from 'magicmix'

import { tinyHeads, tinyModel } from './support/models.js'
import { native } from './support/native.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import { describeRuns, schedules } from './support/samplers.js'

describe('samplers', function () {
  this.timeout(120_000)

  describe('lead where those of diffusers lead', () => {
    for (const { id, sampler, steps, spacing, eta, gamma, scheduler, ...expected } of schedules) {
      it(id, () => {
        const karras = spacing === 'karras'
        const levels = native.schedule(steps, {
          sampler: sampler!,
          karras,
          ...(spacing !== undefined && spacing !== 'karras' ? { spacing } : {}),
          ...(eta === undefined ? {} : { eta }),
          ...(gamma === undefined ? {} : { gamma }),
          endsClean: scheduler.set_alpha_to_one === true,
          zeroTerminalSnr: scheduler.rescale_betas_zero_snr === true,
        })
        const { timesteps, alphaBar, stateZero, alphaBarAfterStep, fresh } = expected
        assert.deepEqual(Array.from(levels.timesteps), timesteps)
        close([...levels.alphaBar, levels.end], alphaBar)
        close(levels.alphaBarNext, alphaBarAfterStep ?? alphaBar.slice(1))
        close(levels.fresh, fresh ?? timesteps.map(() => 0))
        close([levels.first], [stateZero])
      })
    }

    /** The numbers of the fixtures have ten digits. */
    function close(actual: ArrayLike<number>, right: ArrayLike<number>): void {
      assert.equal(actual.length, right.length)
      for (const [i, value] of Array.from(right).entries()) {
        const error = Math.abs(actual[i]! - value)
        assert.ok(error <= 2e-8 * Math.max(Math.abs(value), 1e-2), `${actual[i]}, not ${value}`)
      }
    }
  })

  describe('make the states that those of diffusers make', () =>
    describeRuns((i, id) => i % 4 === 0 || id.includes('contents')))

  describe('refuse what only others have', () => {
    let mixer: MagicMix
    before(async () => {
      const plain = { config: tinyHeads, device: 'cpu', threads: 1 } as const
      mixer = await MagicMix.load({ model: await tinyModel(), ...plain })
    })
    after(() => mixer.dispose())

    const layout = fixture('landscape64.png')
    const refused: [request: Partial<MixRequest>, message: RegExp][] = [
      [{ sampler: 'euler', eta: 1 }, /for eta .*1|eta.*received 1/],
      [{ sampler: 'ddim', gamma: 0.5 }, /gamma/],
      [{ sampler: 'euler', spacing: 'karras' }, /spacing.*karras/],
      [{ sampler: 'lcm', spacing: 'trailing' }, /spacing.*trailing/],
      [{ sampler: 'tcd', steps: 51 }, /at most 50.*steps.*51/],
      [{ sampler: 'heun' as never }, /sampler.*heun/],
      [{ guidanceInterval: [0.8, 0.2] }, /guidanceInterval/],
      [{ guidanceInterval: [0.2, 2] }, /guidanceInterval\[1\]/],
    ]
    for (const [request, message] of refused) {
      it(JSON.stringify(request), async () => {
        const whole = { layout, content: 'a corgi', ...request }
        await assert.rejects(mixer.mix(whole), coded('INVALID_ARGUMENT', message))
        await assert.rejects(mixer.check(whole), coded('INVALID_ARGUMENT', message))
      })
    }
  })

  it('have defaults of their own', () => {
    const of = (sampler: MixRequest['sampler']) => {
      const { steps, guidanceScale } = recipe({ layout: 'a.png', content: 'b', sampler })
      return [steps, guidanceScale]
    }
    assert.deepEqual(of('ddim'), [50, 7.5])
    assert.deepEqual(of('dpm++2m'), [50, 7.5])
    assert.deepEqual(of('lcm'), [8, 1.5])
    assert.deepEqual(of('tcd'), [8, 1.5])
  })
})
