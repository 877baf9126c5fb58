/** What can be sent: requests as JSON, errors as JSON. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'

import { MagicMix, MagicMixError, type MixRequest, devices, pull, recipe } from 'magicmix'
import sharp from 'sharp'

import { fixture } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const picture = fixture('landscape64.png')
const base = { content: 'a corgi', width: 64, height: 64, steps: 4, seed: 3 }
const throughJson = (request: MixRequest) =>
  JSON.parse(JSON.stringify(recipe(request))) as MixRequest

describe('a request as JSON', () => {
  let mixer: MagicMix
  let expected: Uint8Array
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
    expected = (await mixer.mix({ ...base, layout: picture })).data
  })
  after(() => mixer.dispose())

  it('gives the same picture from a path, bytes and pixels', async () => {
    const bytes = await readFile(picture)
    const { data, info } = await sharp(bytes)
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true })
    const pixels = { data, width: info.width, height: info.height, channels: 3 } as const
    const { buffer, byteOffset, byteLength } = bytes
    const copy = buffer.slice(byteOffset, byteOffset + byteLength)
    for (const layout of [picture, bytes, new Uint8Array(bytes), copy, pixels]) {
      const mix = await mixer.mix(throughJson({ ...base, layout }))
      assert.deepEqual(mix.data, expected)
    }
  })

  it('gives the same picture again from the request of a mix', async () => {
    const attention = { corgi: 1.5 }
    const mix = await mixer.mix({
      ...base,
      layout: { prompt: 'a hill' },
      attention,
      seed: undefined,
    })
    const again = await mixer.mix(JSON.parse(JSON.stringify(recipe(mix.request))) as MixRequest)
    assert.deepEqual(again.data, mix.data)
  })

  it('has every default, and neither callbacks nor signals', () => {
    const { signal } = new AbortController()
    const json = throughJson({ ...base, layout: picture, onProgress() {}, signal })
    assert.deepEqual([json.nu, json.kMax, json.sampler, json.layout], [0.9, 0.6, 'ddim', picture])
    assert.ok(!('signal' in json) && !('onProgress' in json))
  })

  it('verifies the hash of a picture', async () => {
    const bytes = await readFile(picture)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const another = createHash('sha256').update('another').digest('hex')
    for (const layout of [{ path: picture }, { bytes: bytes.toString('base64') }]) {
      const mix = await mixer.mix({ ...base, layout: { ...layout, sha256 } })
      assert.deepEqual(mix.data, expected)
      await assert.rejects(
        mixer.mix({ ...base, layout: { ...layout, sha256: another } }),
        coded('PICTURE_UNREADABLE', /SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}/),
      )
    }
  })

  it('of a sharp instance is refused by name', () => {
    assert.throws(
      () => recipe({ ...base, layout: sharp(picture) }),
      coded('INVALID_ARGUMENT', /toBuffer\(\)/),
    )
  })

  it('needs the picture beside a hash', async () => {
    const mix = await mixer.mix({ ...base, layout: await readFile(picture) })
    const { request } = mix.toJSON() as { request: MixRequest }
    assert.match((request.layout as { sha256: string }).sha256, /^[0-9a-f]{64}$/)
    await assert.rejects(mixer.mix(request), coded('INVALID_ARGUMENT', /the picture itself/))
  })

  it('names files without their folders in what a picture embeds', async () => {
    const mix = await mixer.mix({ ...base, layout: { path: picture } })
    assert.deepEqual((mix.toJSON() as { request: MixRequest }).request.layout, {
      path: 'landscape64.png',
      sha256: createHash('sha256').update(readFileSync(picture)).digest('hex'),
    })
  })

  for (const [what, layout, message] of [
    ['what is no base64', { bytes: '%%%' }, /Expected bytes in base64 for layout\.bytes/],
    ['no bytes', { bytes: '' }, /layout\.bytes/],
    ['a hash that is none', { path: 'a.png', sha256: 'abc' }, /64 hexadecimal digits/],
    ['a hash alone', { sha256: 'a'.repeat(64) }, /the picture itself beside its description/],
  ] as [string, object, RegExp][]) {
    it(`refuses ${what}`, async () => {
      const request = { ...base, layout } as MixRequest
      await assert.rejects(mixer.mix(request), coded('INVALID_ARGUMENT', message))
    })
  }

  it('takes the earlier name of an option, but not both', async () => {
    const mix = await mixer.mix({ ...base, layout: picture, preview: 2 })
    assert.equal(mix.request.previewEvery, 2)
    await assert.rejects(
      mixer.mix({ ...base, layout: picture, preview: 2, previewEvery: 2 }),
      coded('INVALID_ARGUMENT', /nothing beside previewEvery, its new name, for preview/),
    )
  })
})

describe('an error as JSON', () => {
  const error = new MagicMixError(
    'INVALID_ARGUMENT',
    'Expected less',
    { name: 'layout', received: new Uint8Array(3_000_000), text: 'x'.repeat(5000), call() {} },
    { cause: new Error('because') },
  )

  it('is short, and has code, message, details and cause', () => {
    const text = JSON.stringify(error)
    assert.ok(text.length < 2000)
    const json = JSON.parse(text) as ReturnType<MagicMixError['toJSON']>
    assert.deepEqual(
      { ...json, details: { ...json.details, text: undefined } },
      {
        ...{ name: 'MagicMixError', code: 'INVALID_ARGUMENT', message: 'Expected less' },
        details: {
          name: 'layout',
          received: 'Uint8Array of 3000000 bytes',
          call: 'a function',
          text: undefined,
        },
        cause: 'because',
      },
    )
  })

  it('becomes an error again, over a message channel, too', () => {
    const { port1, port2 } = new MessageChannel()
    port1.postMessage(error.toJSON())
    const received = receiveMessageOnPort(port2) as { message: unknown }
    port1.close()
    const again = MagicMixError.fromJSON(received.message)
    assert.ok(again instanceof MagicMixError && again instanceof Error)
    assert.deepEqual(
      [again.name, again.code, again.message],
      ['MagicMixError', error.code, error.message],
    )
    assert.equal((again.cause as Error).message, 'because')
    assert.deepEqual(again.toJSON(), error.toJSON())
  })

  for (const json of [
    undefined,
    null,
    7,
    {},
    { name: 'MagicMixError', code: 'NONE', message: '' },
  ]) {
    it(`is refused where it is none: ${JSON.stringify(json)}`, () => {
      assert.throws(() => MagicMixError.fromJSON(json), TypeError)
    })
  }

  it('has details that follow from the code', () => {
    const thrown: unknown = new MagicMixError('QUEUE_FULL', 'full', { waiting: 2, maxQueue: 2 })
    assert.ok(thrown instanceof MagicMixError && thrown.code === 'QUEUE_FULL')
    const waiting: number = thrown.details.waiting // compiles only if the code narrows the details
    assert.equal(waiting, 2)
    // @ts-expect-error -- these are not the details of that code
    assert.ok(new MagicMixError('QUEUE_FULL', 'full', { phrase: 'a' }))
  })
})

describe('options of calls without a model', () => {
  it('are refused if they do not exist', async () => {
    const typo = { fersh: true } as object
    await assert.rejects(
      devices(typo),
      coded('UNKNOWN_OPTION', /devices has no option 'fersh'; did you mean 'fresh'/),
    )
    await assert.rejects(
      pull('sd1.5', { revison: 'a' } as object),
      coded('UNKNOWN_OPTION', /'revision'/),
    )
    await assert.rejects(
      devices({ fresh: 1 } as object),
      coded('INVALID_ARGUMENT', /true or false for fresh/),
    )
  })
})
