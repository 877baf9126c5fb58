/** Prompts that change from step to step, as AUTOMATIC1111's web UI reads them. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { MagicMix, MagicMixError, recipe } from 'magicmix'
import type { Mix, MixRequest, MixState } from 'magicmix'

import { editedPrompt } from '../dist/input/prompt-editing.js'
import { tinyXlHeads, tinyXlModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

describe('prompt editing', function () {
  this.timeout(120_000)

  describe('has the texts that the web UI has', () => {
    const cases = JSON.parse(readFileSync(fixture('prompt-editing.json'), 'utf8')) as {
      prompt: string
      steps: number
      texts: string[]
      ofStep: number[]
    }[]
    for (const { prompt, steps, ...right } of cases) {
      it(`${prompt}, ${steps} steps`, () => {
        assert.deepEqual(editedPrompt(prompt, steps, 'the prompt'), right)
      })
    }

    it('a backslash takes the meaning of a character away', () => {
      const texts = (prompt: string) => editedPrompt(prompt, 4, 'the prompt').texts
      assert.deepEqual(texts(String.raw`a \[b\] \(c:1.2\) d\\`), [
        String.raw`a [b] (c:1.2) d` + '\\',
      ])
      assert.deepEqual(texts(String.raw`[16\:9|a\|b]`), ['16:9', 'a|b'])
      assert.deepEqual(texts('the end\\'), ['the end\\'])
    })
  })

  describe('says where a prompt is wrong', () => {
    const rows: [prompt: string, position: number, message: RegExp][] = [
      ['a [cat:dog:0.5', 2, /the content prompt, character 3: '\[' is not closed/],
      ['a cat] b', 5, /character 6: ']' closes nothing/],
      ['a [cat] b', 2, /weights.*attention.*'\\\['/],
      ['a [] b', 2, /weights/],
      ['a (cat:1.3)', 2, /'\(' is for weights.*attention.*'\\\('/],
      ['a cat)', 5, /'\)' is for weights/],
      ['a [(cat)|dog]', 3, /weights/],
      ['[cat:dog]', 5, /'dog' is no time to change at/],
      ['[cat:dog:soon]', 9, /'soon' is no time.*fraction/],
      ['[cat:dog:]', 9, /'' is no time/],
      ['[cat:dog:-1]', 9, /'-1' is no time/],
      ['[cat:dog:1.5]', 9, /'1.5' is no time/],
      ['[cat:dog:1e-1]', 9, /is no time/],
      ['[cat:dog:[1|2]]', 9, /is no time/],
      ['[a:b:c:0.5]', 6, /third ':'/],
      ['[a|b:c:0.5]', 4, /':' and '\|' in one bracket/],
      ['[a:b|c]', 4, /in one bracket/],
      ['[[a|b]:c]', 7, /'c' is no time/],
      ['a cat AND a dog', 6, /'AND' is not understood/],
      ['a cat BREAK [a|b AND c]', 6, /'BREAK' is not understood/],
      ['[a|b AND c]', 5, /'AND'/],
      ['a cat <lora:fur:1>', 6, /'<lora:' is not understood; the option loras/],
      ['['.repeat(60), 50, /more than 50 levels/],
    ]
    let mixer: MagicMix
    before(async () => {
      mixer = await MagicMix.load(await tinyOptions())
    })
    after(() => mixer.dispose())
    for (const [content, position, message] of rows) {
      it(content.slice(0, 30), async () => {
        const request = {
          layout: { prompt: 'a hill' },
          content,
          steps: 4,
          promptSyntax: 'a1111' as const,
        }
        const says = (error: unknown) => {
          coded('PROMPT_SYNTAX', message)(error)
          const details = (error as MagicMixError).details as { name: string; position: number }
          assert.equal(details.name, 'the content prompt')
          assert.equal(details.position, position)
          return true
        }
        await assert.rejects(mixer.mix(request), says)
        await assert.rejects(mixer.check(request), says)
      })
    }

    it('in whichever prompt it is', async () => {
      const wrong = (more: Partial<MixRequest>, name: RegExp) => {
        const request = { layout: { prompt: 'a hill' }, content: 'a cat', steps: 4 }
        const given = { ...request, promptSyntax: 'a1111' as const, ...more }
        return assert.rejects(mixer.check(given), coded('PROMPT_SYNTAX', name))
      }
      await wrong({ layout: { prompt: '[a' } }, /the layout prompt, character 1/)
      await wrong({ negativePrompt: 'rain]' }, /the negative prompt, character 5/)
      const other = (prompt: string) => ({ interpolate: { prompt, weight: 0.5 } })
      await wrong(other('[a'), /the prompt to interpolate with, character 1/)
      await wrong(other('[a|b]'), /the prompt to interpolate with cannot change/)
    })

    it('what takes too long', async () => {
      const of = (content: string, more: Partial<MixRequest> = {}) =>
        mixer.check({ layout: { prompt: 'a' }, content, promptSyntax: 'a1111', ...more })
      const primes = [2, 3, 5, 7].map(
        (count) => `[${Array.from({ length: count }, (_, i) => `${count}.${i}`).join('|')}]`,
      )
      await assert.rejects(
        of(primes.join(' '), { steps: 999 }),
        coded('PROMPT_SYNTAX', /changes to 210 different texts in 999 steps; at most 100/),
      )
      await assert.rejects(of('word '.repeat(2001)), coded('PROMPT_TOO_LONG', /10005 characters/))
      await assert.rejects(of(`[a|${'word '.repeat(76)}]`), coded('PROMPT_TOO_LONG', /76 tokens/))
      await of(`[a|${'word '.repeat(76)}]`, { truncate: true })
    })

    it('and which syntaxes there are', async () => {
      const request = { layout: { prompt: 'a' }, content: 'a', promptSyntax: 'comfy' as never }
      await assert.rejects(
        mixer.check(request),
        coded('INVALID_ARGUMENT', /'plain', 'a1111' for promptSyntax/),
      )
    })
  })

  describe('in mixes', () => {
    let mixer: MagicMix
    before(async () => {
      mixer = await MagicMix.load({ ...(await tinyOptions()), cacheBytes: 0 })
    })
    after(() => mixer.dispose())

    const [loaf, corgi] = ['a loaf of bread', 'a photo of a corgi']
    const request = {
      ...{ layout: { prompt: loaf }, content: corgi, width: 64, height: 64, steps: 10, seed: 3 },
      promptSyntax: 'a1111' as const,
    }
    /** The run of one prompt that changes. */
    const alone = (content: string) => ({ ...request, content, kMin: 1, kMax: 1 })
    const bytes = async (given: MixRequest, by = mixer) => Buffer.from((await by.mix(given)).data)
    const statesOf = async (given: MixRequest) => (await mixer.mix({ ...given, trace: true })).trace

    it('[from:to:when] is the method switch, and [a|b] the method alternate', async () => {
      const { promptSyntax, ...plain } = request
      assert.deepEqual(
        await bytes(alone(`[${loaf}:${corgi}:0.4]`)),
        await bytes({ ...plain, method: { name: 'switch', at: 0.6 } }),
      )
      assert.deepEqual(
        await bytes(alone(`[${loaf}:${corgi}:7]`)),
        await bytes({ ...plain, method: { name: 'switch', at: 0.3 } }),
      )
      assert.deepEqual(
        await bytes(alone(`[${loaf}|${corgi}]`)),
        await bytes({ ...plain, method: 'alternate' }),
      )
      assert.deepEqual(
        await bytes(alone(`[${loaf}|${corgi}|${corgi}]`)),
        await bytes({ ...plain, method: { name: 'alternate', every: 3 } }),
      )
    })

    it('brackets are text without it', async () => {
      const { promptSyntax, ...plain } = request
      const content = `[${loaf}|${corgi}]`
      assert.deepEqual(
        await bytes({ ...plain, content }),
        await bytes({ ...plain, content, promptSyntax: 'plain' }),
      )
      assert.notDeepEqual(await bytes({ ...plain, content }), await bytes({ ...request, content }))
      assert.deepEqual(await bytes(plain), await bytes(request))
    })

    it('the steps of a mix count from pure noise, whatever the layout is', async () => {
      const layout = fixture('landscape64.png')
      const mixed = { ...request, layout } // begins at state 4
      assert.deepEqual(
        await bytes({ ...mixed, content: `[${loaf}:${corgi}:4]` }),
        await bytes(mixed),
      )
      assert.deepEqual(
        await bytes({ ...mixed, content: `[${corgi}:${loaf}:1.0]` }),
        await bytes(mixed),
      )
      assert.notDeepEqual(
        await bytes({ ...mixed, content: `[${loaf}:${corgi}:5]` }),
        await bytes(mixed),
      )
    })

    it("a layout's prompt changes in its own run", async () => {
      const changing = `a [loaf:hill:3] here`
      const { layoutTrace } = await mixer.mix({
        ...request,
        layout: { prompt: changing },
        trace: true,
      })
      const run = await statesOf(alone(changing))
      layoutTrace.forEach((state, i) => assert.deepEqual(state, run[i]))
      assert.ok(layoutTrace.length > 4)
    })

    const sameUpTo = (a: MixState[], b: MixState[], last: number) => {
      assert.deepEqual(a.slice(0, last + 1), b.slice(0, last + 1))
      assert.notDeepEqual(a[last + 1], b[last + 1])
    }

    it('a negative prompt changes, too', async () => {
      const negative = (negativePrompt: string) => statesOf({ ...alone(corgi), negativePrompt })
      sameUpTo(await negative('[rain:snow:6]'), await negative('rain'), 6)
      sameUpTo(await negative('[rain::6]'), await negative('rain'), 6)
      const unguided = { ...alone(corgi), guidanceScale: 1 }
      assert.deepEqual(
        await bytes({ ...unguided, negativePrompt: '[rain|snow]' }),
        await bytes(unguided),
      )
    })

    it('a phrase is scaled in the texts that have it', async () => {
      const content = `[${loaf}:${corgi}:5]`
      const scaled = (attention: Record<string, number>) =>
        statesOf({ ...alone(content), attention })
      const plain = await scaled({})
      sameUpTo(await scaled({ corgi: -1 }), plain, 5)
      sameUpTo(await scaled({ bread: -1 }), plain, 0)
      await assert.rejects(scaled({ tiger: 2 }), coded('PHRASE_NOT_FOUND', /'tiger' is not in/))
    })

    it('every content of several changes by itself', async () => {
      const { content: _, ...rest } = alone('')
      const several = (...prompts: string[]) =>
        statesOf({ ...rest, contents: prompts.map((prompt) => ({ prompt })) })
      const edited = `[${corgi}:a hill:5]`
      assert.deepEqual(await several(edited), await statesOf(alone(edited)))
      sameUpTo(await several(edited, loaf), await several(corgi, loaf), 5)
      sameUpTo(await several(edited, `[${loaf}:rain:7]`), await several(edited, loaf), 7)
    })

    it('goes with methods, interpolation and a cache', async () => {
      const method = 'split' as const
      const content = `[${corgi}:a hill:5]`
      sameUpTo(
        await statesOf({ ...request, method, content }),
        await statesOf({ ...request, method }),
        5,
      )
      const interpolate = { prompt: loaf, weight: 0.5 }
      sameUpTo(
        await statesOf({ ...alone(content), interpolate }),
        await statesOf({ ...alone(corgi), interpolate }),
        5,
      )
      const callsOf = async (given: MixRequest) => {
        const { unetCalls } = await mixer.mix({ ...given, cache: { every: 3 } })
        return [unetCalls.full, unetCalls.cached]
      }
      // Whole calls at 0 and 3, and from the change on at 5 and 8.
      assert.deepEqual(await callsOf(alone(content)), [4, 6])
      assert.deepEqual(await callsOf({ ...alone(corgi), negativePrompt: '[a|b]' }), [10, 0])
    })

    it('goes with Stable Diffusion XL, whose empty negative prompt is none', async () => {
      const plain = { precision: 'f32', device: 'cpu', threads: 1 } as const
      await using xl = await MagicMix.load({
        model: await tinyXlModel(),
        config: tinyXlHeads,
        ...plain,
      })
      const { promptSyntax, ...unchanged } = request
      const switched = await bytes({ ...unchanged, method: { name: 'switch', at: 0.6 } }, xl)
      assert.deepEqual(await bytes(alone(`[${loaf}:${corgi}:0.4]`), xl), switched)
      const negative = (negativePrompt: string) => bytes({ ...alone(corgi), negativePrompt }, xl)
      assert.deepEqual(await negative('[|]'), await negative(''))
      assert.notDeepEqual(await negative('[rain::5]'), await negative(''))
    })

    it('shares states in sweeps', async () => {
      const callsOf = ({ unetCalls: { full, cached } }: Mix) => full + cached
      await using sharing = await MagicMix.load(await tinyOptions())
      const contents = [`[${loaf}:${corgi}:6]`, `[${loaf}:${corgi}:8]`, loaf]
      const sweep = sharing.sweep({ ...alone(''), vary: { content: contents } })
      // 10, then from state 6 on, then from state 8 on.
      assert.equal(sweep.plan.unetCalls, 10 + 4 + 2)
      let calls = 0
      for await (const { mix } of sweep) {
        calls += callsOf(mix)
        assert.deepEqual(Buffer.from(mix.data), await bytes(mix.request))
      }
      assert.equal(calls, sweep.plan.unetCalls)
      const bySyntax = sharing.sweep({
        ...alone(`[a|b]`),
        vary: { promptSyntax: ['plain', 'a1111'], steps: [2, 3] },
      })
      for await (const { mix } of bySyntax) {
        assert.deepEqual(Buffer.from(mix.data), await bytes(mix.request))
      }
    })

    it('is in requests', async () => {
      const mix = await mixer.mix(alone(`[${loaf}|${corgi}]`))
      assert.equal(mix.request.promptSyntax, 'a1111')
      assert.deepEqual(await bytes(recipe(mix.request)), Buffer.from(mix.data))
    })
  })
})
