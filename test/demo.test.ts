/** What the demo plans; `demo.slow` runs it. */
import assert from 'node:assert/strict'
import path from 'node:path'

import { MagicMix } from 'magicmix'

import { demoSheets } from '../dist/cli/demo-sheets.js'
import { fewStepsInTheBox } from '../dist/package-files.js'
import { checkRequest } from '../dist/request/mix-options.js'
import { checkSweep } from '../dist/sweep/axes.js'
import { packageRoot } from './support/package-root.js'

describe('the sheets of the demo', () => {
  const layoutOf = (name: string) => path.join(packageRoot, 'models', 'layouts', `${name}.png`)
  const [quick, ...others] = demoSheets(layoutOf, fewStepsInTheBox)
  const requestsOf = (sheets: typeof others) =>
    sheets
      .flatMap(({ rows }) => rows.flatMap(({ pieces }) => pieces))
      .flatMap((piece) => {
        if ('sweep' in piece) return checkSweep(piece.sweep).cells.map(({ request }) => request)
        return 'mix' in piece ? [checkRequest(piece.mix)] : []
      })
  const mixes = requestsOf([quick!])

  it('begin with a quick one, whose captions say what is done', async () => {
    await using mixer = await MagicMix.load({ threads: 1 })
    const captions = [quick!.title, ...quick!.about].join(' ')
    const captioned = (pattern: RegExp) => Number(pattern.exec(captions)?.[1])
    for (const mix of mixes) {
      const { steps } = await mixer.check(mix)
      assert.equal(mix.guidanceScale, 1, 'with guidance there would be two calls in a step')
      assert.equal(steps.content, captioned(/(\d+) calls/))
      assert.equal(steps.content, captioned(/of which (\d+) run/))
      assert.equal(mix.steps, captioned(/(\d+) steps/))
      assert.equal(mix.kMin, captioned(/kMin ([\d.]+)/))
      assert.equal(mix.kMax, captioned(/kMax ([\d.]+)/))
      assert.match(captions, new RegExp(`[Ss]ampler ${mix.sampler}`))
    }
    const [first, second] = mixes
    const plain = await mixer.mix({ ...first!, loras: [] })
    const mixed = await mixer.mix(first!)
    assert.notDeepEqual(mixed.data, plain.data, 'the LoRA counts')
    assert.notDeepEqual((await mixer.mix(second!)).data, mixed.data, 'and so does nu')
  })

  it('go on with what the model does by itself', () => {
    for (const { loras } of requestsOf(others)) assert.equal(loras, undefined)
    assert.ok(new Set([quick, ...others].map((sheet) => sheet!.file)).size === others.length + 1)
  })
})
