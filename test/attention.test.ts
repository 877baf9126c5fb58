import assert from 'node:assert/strict'

import { type FilledAttentionScale, tokenScales } from '../dist/input/attention.js'
import { ClipTokens } from '../dist/input/tokens.js'

describe('attention', () => {
  let clip: ClipTokens
  before(async () => {
    clip = await ClipTokens.load()
  })

  const always = { from: 0, to: 1 }
  const scalesOf = (text: string, ...scales: FilledAttentionScale[]) =>
    tokenScales(scales, [{ text, tokens: clip.tokensOf(text) }], (phrase) => clip.tokensOf(phrase))

  it('puts position 1 on the first token of the prompt', () => {
    assert.deepEqual(scalesOf('corgi', { text: 'corgi', scale: 1.5, ...always }), [
      { position: 1, scale: 1.5, from: 0, to: 1 },
    ])
  })

  it('scales every token of a phrase of several words', () => {
    const scales = scalesOf('a photo of a Coffee machine', {
      text: 'coffee  MACHINE',
      scale: 1.4,
      ...always,
    })
    assert.deepEqual(
      scales.map(({ position, scale }) => [position, scale]),
      [
        [5, 1.4],
        [6, 1.4],
      ],
    )
  })

  it('scales every piece of a word that is several tokens', () => {
    const scales = scalesOf('an axolotl', { text: 'axolotl', scale: -1, ...always })
    assert.deepEqual(
      scales.map(({ position }) => position),
      [2, 3, 4, 5],
    )
  })

  it('scales all occurrences, or the one asked for', () => {
    const prompt = 'a cat, a dog and a cat'
    const positions = (occurrence?: number) =>
      scalesOf(prompt, { text: 'cat', scale: 2, occurrence, ...always }).map((s) => s.position)
    assert.deepEqual(positions(), [2, 8])
    assert.deepEqual(positions(1), [2])
    assert.deepEqual(positions(2), [8])
    assert.throws(() => positions(3), {
      code: 'PHRASE_NOT_FOUND',
      message: "Occurrence 3 of 'cat' was asked for, but the content prompt has only 2",
      details: { phrase: 'cat', occurrence: 3, occurrences: 2 },
    })
  })

  it('keeps the order of the entries and their windows, so that the later one wins', () => {
    const scales = scalesOf(
      'coffee machine',
      { text: 'coffee machine', scale: 1, ...always },
      { text: 'machine', scale: -0.5, from: 0.2, to: 0.4 },
    )
    assert.deepEqual(scales, [
      { position: 1, scale: 1, from: 0, to: 1 },
      { position: 2, scale: 1, from: 0, to: 1 },
      { position: 2, scale: -0.5, from: 0.2, to: 0.4 },
    ])
  })

  it('does not take a part of a word for the word', () => {
    assert.throws(() => scalesOf('a caterpillar', { text: 'cat', scale: 1, ...always }), {
      code: 'PHRASE_NOT_FOUND',
    })
  })

  it('names the words of the prompt if a phrase is not there', () => {
    assert.throws(() => scalesOf('a photo, of a cat!', { text: 'dog', scale: 1, ...always }), {
      code: 'PHRASE_NOT_FOUND',
      message: "'dog' is not in the content prompt, whose words are: a, photo, of, cat",
    })
    assert.throws(() => scalesOf('', { text: 'dog', scale: 1, ...always }), {
      message: "'dog' is not in the content prompt, which has no words",
    })
  })

  it('says so if a phrase was cut off', () => {
    assert.throws(
      () => scalesOf('word '.repeat(75) + 'cat', { text: 'cat', scale: 1, ...always }),
      {
        code: 'PHRASE_TRUNCATED',
        message: /cut off after 75 tokens/,
      },
    )
  })
})
