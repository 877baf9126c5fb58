/** What the demo plans; `demo.slow` runs it. */
import assert from 'node:assert/strict'
import path from 'node:path'

import { MagicMix } from 'magicmix'

import { demoSheets } from '../dist/cli/demo-sheets.js'
import { fewStepsInTheBox } from '../dist/package-files.js'
import { packageRoot } from './support/package-root.js'

describe('the sheets of the demo', () => {
  const layoutOf = (name: string) => path.join(packageRoot, 'models', 'layouts', `${name}.png`)
  const [quick, ...others] = demoSheets(layoutOf, fewStepsInTheBox)
  const mixes = quick!.rows.flatMap(({ cells }) =>
    cells.flatMap((cell) => ('mix' in cell ? [cell.mix] : [])),
  )

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
    const requests = others.flatMap(({ rows }) => rows.flatMap(({ cells }) => cells))
    for (const cell of requests) assert.ok(!('mix' in cell) || cell.mix.loras === undefined)
    assert.ok(new Set([quick, ...others].map((sheet) => sheet!.file)).size === others.length + 1)
  })
})
