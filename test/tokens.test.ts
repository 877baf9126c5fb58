import assert from 'node:assert/strict'

import { ClipTokens, contextOf, beginningOf } from '../dist/input/tokens.js'
import golden from './fixtures/tokenizer.json'

const begin = 49406
const end = 49407

describe('tokens', () => {
  let clip: ClipTokens
  before(async () => {
    clip = await ClipTokens.load()
  })

  it('has the reference strings', () => {
    assert.equal(golden.length, 53)
  })

  for (const { text, ids } of golden) {
    it(`equals the reference on ${JSON.stringify(text.slice(0, 40))}`, () => {
      const padded = [...ids, ...Array<number>(77 - ids.length).fill(end)]
      assert.deepEqual([...contextOf(clip.tokensOf(text), true, 'the prompt', 49407)], padded)
    })
  }

  it('shows every token from begin to end with its text and index', () => {
    assert.deepEqual(clip.sequenceOf('a photorealism Axolotl'), [
      { id: begin, text: '<|startoftext|>', index: 0 },
      { id: 320, text: 'a', index: 1 },
      { id: 1153, text: 'photo', index: 2 },
      { id: 20024, text: 'realism', index: 3 },
      { id: 3165, text: 'ax', index: 4 },
      { id: 78, text: 'o', index: 5 },
      { id: 5132, text: 'lot', index: 6 },
      { id: 331, text: 'l', index: 7 },
      { id: end, text: '<|endoftext|>', index: 8 },
    ])
  })

  it('shows characters of several bytes', () => {
    assert.deepEqual(
      clip.tokensOf('a 🐶 über').map(({ text }) => text),
      ['a', '🐶', 'ü', 'ber'],
    )
  })

  it('does not cut off what it shows', () => {
    assert.equal(clip.sequenceOf('word '.repeat(100)).length, 102)
  })

  it('accepts exactly 75 tokens and refuses 76, naming where it would cut', () => {
    const fits = contextOf(clip.tokensOf('word '.repeat(75)), false, 'the prompt', 49407)
    assert.equal(fits[75], fits[1])
    assert.equal(fits[76], end)
    assert.throws(
      () =>
        contextOf(clip.tokensOf('word '.repeat(75) + 'cat'), false, 'the content prompt', 49407),
      {
        name: 'MagicMixError',
        code: 'PROMPT_TOO_LONG',
        message: /the content prompt has 76 tokens, but only 75 fit.*'cat' \(token 76\)/,
        details: { name: 'the content prompt', tokens: 76, maxTokens: 75, firstCut: 'cat' },
      },
    )
  })

  it('refuses what is not text, and text without end', () => {
    assert.throws(() => clip.tokensOf(7 as never), { code: 'INVALID_ARGUMENT' })
    assert.throws(() => clip.tokensOf('x'.repeat(1001)), {
      code: 'PROMPT_TOO_LONG',
      message: /1001 characters/,
    })
  })

  it('cuts a text without end at a word, far behind what fits', () => {
    const beginning = beginningOf('word '.repeat(300))
    assert.equal(beginning, 'word '.repeat(200))
    assert.equal(clip.tokensOf(beginning).length, 200)
    assert.equal(beginningOf('x'.repeat(2000)).length, 1000)
    assert.equal(beginningOf('a cat'), 'a cat')
  })

  it('is built once', async () => {
    assert.equal(await ClipTokens.load(), clip)
  })
})
