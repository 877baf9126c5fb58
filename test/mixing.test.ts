/**
 * Mixing in place and in time: maps of `nu` and `kMax`, a `nu` that changes, several contents and several
 * layouts. Each of them equals, bit for bit, a plain mix where it says nothing else.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'

import { MagicMix, readRecipe, recipe } from 'magicmix'
import type { Mix, MixRequest, MixState, RawPixels, SweepRequest } from 'magicmix'

import { fixture } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const picture = { layout: fixture('landscape64.png') }
const other = fixture('landscape256.png')
const common = { content: 'a corgi', width: 64, height: 64, steps: 10, seed: 1, trace: true }
/** The mix begins at state 4, and states 5 and 6 are mixed. */
const window = { kMax: 0.6, kMin: 0.3 }
const cells = 8

/** A map of one pixel for each cell. */
function mapOf(grey: (x: number, y: number) => number): RawPixels {
  const data = Uint8Array.from({ length: cells * cells }, (_, i) =>
    grey(i % cells, (i / cells) | 0),
  )
  return { data, width: cells, height: cells, channels: 1 }
}
const white = mapOf(() => 255)
const black = mapOf(() => 0)
const grey = mapOf(() => 128)
const leftBlack = mapOf((x) => (x < cells / 2 ? 0 : 255))
const share = Math.fround(128 / 255)

/** The halves of a state, one channel after the other. */
function halves({ latent }: MixState): { left: number[]; right: number[] } {
  const at = (isLeft: boolean) => [...latent].filter((_, i) => i % cells < cells / 2 === isLeft)
  return { left: at(true), right: at(false) }
}

describe('mixing in place and in time', function () {
  this.timeout(120_000)
  let mixer: MagicMix
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
  })
  after(() => mixer.dispose())

  const mix = (request: Partial<MixRequest>): Promise<Mix> => {
    const whole = { ...common, ...window, ...request }
    const { content, layout = picture.layout, ...rest } = whole
    return mixer.mix({
      ...rest,
      ...(rest.contents ? {} : { content }),
      ...(rest.layouts ? {} : { layout }),
    })
  }
  const same = async (one: Partial<MixRequest>, two: Partial<MixRequest>) => {
    const [a, b] = [await mix(one), await mix(two)]
    assert.deepEqual(a.trace, b.trace)
    assert.deepEqual(a.data, b.data)
    return a
  }

  const layouts = { 'a picture': picture, 'a layout prompt': { layout: { prompt: 'a loaf' } } }
  const samplers = ['ddim', 'euler_a', 'dpm++2m', 'lcm'] as const

  describe('nuMap', () => {
    for (const [name, layout] of Object.entries(layouts)) {
      for (const sampler of samplers) {
        const base = { ...layout, sampler }
        it(`of white is none, of black is nu 0, of grey is less nu: ${name}, ${sampler}`, async () => {
          await same({ ...base, nuMap: white }, base)
          await same({ ...base, nuMap: black }, { ...base, nu: 0 })
          await same({ ...base, nuMap: grey }, { ...base, nu: 0.9 * share })
        })
      }
    }

    it('says for each half what the mixed state there is', async () => {
      const [of, plain, kept] = [
        await mix({ nuMap: leftBlack }),
        await mix({}),
        await mix({ nu: 0 }),
      ]
      // The first mixed state follows from the same step.
      const at = of.trace[1]!
      assert.equal(at.index, 5)
      assert.deepEqual(halves(at).left, halves(kept.trace[1]!).left)
      assert.deepEqual(halves(at).right, halves(plain.trace[1]!).right)
      assert.notDeepEqual(halves(at).right, halves(kept.trace[1]!).right)
    })

    it('is made to fit: any size, any form, soft edges', async () => {
      const large = await sharp(Buffer.from(leftBlack.data), {
        raw: { width: cells, height: cells, channels: 1 },
      })
        .resize(480, 480, { kernel: 'nearest' })
        .png()
        .toBuffer()
      await same({ nuMap: large }, { nuMap: leftBlack })
      await same({ nuMap: { bytes: large.toString('base64') } }, { nuMap: large })
      await same({ nuMap: sharp(large) }, { nuMap: large })
      // Colours count by their lightness, what is transparent is black.
      const rgba = (r: number, a: number) => ({
        ...{ data: Uint8Array.from({ length: 4 * 64 }, (_, i) => [r, r, r, a][i % 4]!) },
        ...{ width: cells, height: cells, channels: 4 as const },
      })
      await same({ nuMap: rgba(255, 0) }, { nu: 0 })
      await same({ nuMap: rgba(128, 255) }, { nuMap: grey })
      const blurred = await sharp(large).blur(40).png().toBuffer()
      const soft = halves((await mix({ nuMap: blurred })).trace[1]!)
      assert.notDeepEqual(soft.right, halves((await mix({})).trace[1]!).right)
    })

    it('that is contained has white beside it', async () => {
      const wide = await sharp({
        create: { width: 80, height: 40, channels: 3, background: 'black' },
      })
        .png()
        .toBuffer()
      const fitted = await mix({ nuMap: wide, fit: 'contain' })
      const rows = mapOf((_, y) => (y < 2 || y >= 6 ? 255 : 0))
      assert.deepEqual(fitted.trace, (await mix({ nuMap: rows })).trace)
    })
  })

  describe('kMaxMap', () => {
    for (const [name, layout] of Object.entries(layouts)) {
      // Those that add fresh noise draw it for other steps where the run begins later.
      for (const sampler of ['ddim', 'dpm++2m'] as const) {
        const base = { ...layout, sampler }
        it(`of white is none, of grey a smaller kMax: ${name}, ${sampler}`, async () => {
          await same({ ...base, kMaxMap: white }, base)
          const held = await mix({ ...base, kMin: 0.1, kMaxMap: grey })
          const later = await mix({ ...base, kMin: 0.1, kMax: 0.6 * share })
          const from = later.trace[0]!.index
          assert.equal(from, 7)
          assert.deepEqual(
            held.trace.filter(({ index }) => index >= from),
            later.trace,
          )
          assert.deepEqual(held.data, later.data)
        })
      }

      for (const sampler of samplers) {
        it(`of black is the layout to the end: ${name}, ${sampler}`, async () => {
          const kept = await mix({ ...layout, sampler, kMaxMap: black })
          const right = await mix({ ...layout, sampler, nu: 0, kMin: 0 })
          assert.deepEqual(kept.trace.slice(0, -1), right.trace.slice(0, -1))
          if (kept.layoutTrace.length > 0) {
            assert.equal(kept.layoutTrace.length, 11)
            assert.deepEqual(kept.trace.at(-1), kept.layoutTrace.at(-1))
          }
        })
      }
    }

    it('keeps the picture itself where it is black, and says so in the plan', async () => {
      const kept = await mix({ kMaxMap: black, kMin: 0 })
      const { data } = await sharp(picture.layout).removeAlpha().raw().toBuffer({
        resolveWithObject: true,
      })
      // Its own autoencoder is all that lies between.
      const free = await mix({})
      const distance = (bytes: Uint8Array) =>
        bytes.reduce((sum, value, i) => sum + Math.abs(value - data[i]!), 0) / data.length
      assert.ok(distance(kept.data) < distance(free.data), `${distance(kept.data)}`)

      const request = { ...common, ...window, layout: { prompt: 'a loaf' } }
      assert.deepEqual((await mixer.check(request)).steps, { layout: 6, content: 6, score: 0 })
      const mapped = { ...request, kMaxMap: black }
      const { steps } = await mixer.check(mapped)
      assert.deepEqual(steps, { layout: 10, content: 6, score: 0 })
      assert.equal((await mixer.mix(mapped)).unetCalls.full, 16)
    })

    it('holds one half while the other is mixed', async () => {
      const { trace } = await mix({ kMaxMap: leftBlack })
      const kept = await mix({ kMaxMap: black })
      trace.forEach((state, i) => {
        assert.deepEqual(halves(state).left, halves(kept.trace[i]!).left)
      })
      assert.notDeepEqual(halves(trace.at(-1)!).right, halves(kept.trace.at(-1)!).right)
    })
  })

  describe('a nu that changes', () => {
    it('is the same as a number where it does not', async () => {
      await same({ nu: { from: 0.7, to: 0.7 } }, { nu: 0.7 })
      await same({ nu: { from: 0.7, to: 0.7, curve: 'cosine' } }, { nu: 0.7 })
      await same({ nu: [0.7, 0.7] }, { nu: 0.7 })
    })

    it('goes from the first mixed state to the last', async () => {
      const wide = { kMax: 0.8, kMin: 0.2 } // states 3..7
      const list = [0.2, 0.375, 0.55, 0.725, 0.9]
      const line = await mix({ ...wide, nu: { from: 0.2, to: 0.9 } })
      const listed = await mix({ ...wide, nu: list })
      line.trace.forEach(({ latent }, i) => {
        latent.forEach((value, k) => {
          assert.ok(Math.abs(value - listed.trace[i]!.latent[k]!) < 1e-3)
        })
      })
      const bent = [0, 0.5 - Math.SQRT1_2 / 2, 0.5, 0.5 + Math.SQRT1_2 / 2, 1]
      const cosine = await mix({ ...wide, nu: { from: 0, to: 1, curve: 'cosine' } })
      const right = await mix({ ...wide, nu: bent })
      const [a, b] = [cosine.trace.at(-1)!.latent, right.trace.at(-1)!.latent]
      a.forEach((value, k) => assert.ok(Math.abs(value - b[k]!) < 1e-3))
      // One state that is mixed has the first.
      await same({ kMax: 0.6, kMin: 0.4, nu: { from: 0.2, to: 0.9 } }, { kMin: 0.4, nu: 0.2 })
      // The first mixed state alone decides until the second.
      assert.deepEqual(
        (await mix({ nu: [0.3, 0.8] })).trace.slice(0, 2),
        (await mix({ nu: 0.3 })).trace.slice(0, 2),
      )
    })
  })

  describe('contents', () => {
    const attention = { corgi: 1.5 }

    it('of one are that content', async () => {
      for (const layout of Object.values(layouts)) {
        await same({ ...layout, contents: [{ prompt: 'a corgi' }] }, layout)
        await same({ ...layout, contents: [{ prompt: 'a corgi', weight: 7 }] }, layout)
      }
      await same({ contents: [{ prompt: 'a corgi', attention }] }, { attention })
    })

    it('count by their share', async () => {
      const pair = (a: number, b: number) => [
        { prompt: 'a corgi', weight: a },
        { prompt: 'a loaf', weight: b },
      ]
      await same({ contents: pair(1, 0) }, {})
      await same({ contents: pair(2, 2) }, { contents: pair(1, 1) })
      await same({ contents: [{ prompt: 'a corgi' }, { prompt: 'a corgi' }] }, {})
      const mixed = (await mix({ contents: pair(1, 1) })).trace.at(-1)
      assert.notDeepEqual(mixed, (await mix({})).trace.at(-1))
      assert.notDeepEqual(mixed, (await mix({ contents: pair(2, 1) })).trace.at(-1))
    })

    it('without guidance, with a cache and with windows of attention', async () => {
      const two = (change: object = {}) => [{ prompt: 'a corgi', ...change }, { prompt: 'a corgi' }]
      await same({ contents: two(), guidanceScale: 1 }, { guidanceScale: 1 })
      await same({ contents: two(), guidanceInterval: [0.35, 1] }, { guidanceInterval: [0.35, 1] })
      await same({ contents: two(), fast: 'max' }, { fast: 'max' })
      const late = [{ text: 'corgi', scale: 2, from: 0, to: 0.3 }]
      const windowed = await mix({ contents: two({ attention: late }) })
      const plain = await mix({})
      assert.deepEqual(windowed.trace.slice(0, 4), plain.trace.slice(0, 4))
      assert.notDeepEqual(windowed.trace.at(-1), plain.trace.at(-1))
    })

    it('take one call for all of them', async () => {
      const { unetCalls } = await mix({ contents: [{ prompt: 'a' }, { prompt: 'b' }] })
      assert.deepEqual(unetCalls, { full: 6, cached: 0, unguided: 0 })
    })
  })

  describe('layouts', () => {
    it('of one picture are that layout', async () => {
      await same({ layouts: [picture.layout] }, picture)
      await same({ layouts: [{ picture: picture.layout, weight: 3 }] }, picture)
    })

    it('are the mean of their latents', async () => {
      const pair = (a: number, b: number) => [
        { picture: picture.layout, weight: a },
        { picture: other, weight: b },
      ]
      await same({ layouts: pair(2, 0) }, picture)
      await same({ layouts: [picture.layout, picture.layout] }, picture)
      const first = async (request: Partial<MixRequest>) => (await mix(request)).trace[0]!.latent
      const [one, two] = [await first(picture), await first({ layout: other })]
      const mean = await first({ layouts: pair(3, 1) })
      mean.forEach((value, k) => {
        const right = 0.75 * one[k]! + 0.25 * two[k]!
        assert.ok(Math.abs(value - right) < 1e-5, `${value}, not ${right}`)
      })
    })

    it('have the size of the first', async () => {
      const tall = await sharp(other).resize(48, 96, { fit: 'fill' }).png().toBuffer()
      const { layout: _, ...rest } = { ...common, ...window, ...picture }
      const request = { ...rest, width: undefined, height: undefined }
      const sizes = async (...pictures: (string | Buffer)[]) => {
        const { width, height } = await mixer.check({ ...request, layouts: pictures })
        return [width, height]
      }
      const { width, height } = await mixer.check({ ...request, layout: tall })
      assert.deepEqual(await sizes(tall, other), [width, height])
      assert.notDeepEqual(await sizes(other, tall), [width, height])
    })
  })

  describe('is refused', () => {
    const rows: [what: string, request: Partial<MixRequest>, message: RegExp][] = [
      ['a nu above 1', { nu: 1.1 }, /nu/],
      ['a schedule without an end', { nu: { from: 0.1 } as never }, /nu\.to/],
      ['a curve that is none', { nu: { from: 0, to: 1, curve: 'sine' as never } }, /nu\.curve/],
      ['a list of another length', { nu: [0.1] }, /as many numbers.*\(2\).*nu/],
      ['a map that is a number', { nuMap: 0.5 as never }, /nuMap/],
      ['a map of a prompt', { kMaxMap: { prompt: 'a' } as never }, /kMaxMap/],
      ['contents that push away only', { contents: [{ prompt: 'a', weight: -1 }] }, /sum/],
      ['no contents', { contents: [] }, /1 to 8 contents/],
      ['nine contents', { contents: Array(9).fill({ prompt: 'a' }) as [] }, /1 to 8/],
      ['a slip', { contents: [{ prompt: 'a', wieght: 1 } as never] }, /wieght.*weight/],
      [
        'attention beside contents',
        { contents: [{ prompt: 'a corgi' }], attention: { corgi: 1 } },
        /attention.*nothing beside contents|nothing beside contents.*attention/,
      ],
      [
        'interpolate beside contents',
        { contents: [{ prompt: 'a' }], interpolate: { prompt: 'b', weight: 0.5 } },
        /interpolate/,
      ],
      ['layouts of weight 0', { layouts: [{ picture: picture.layout, weight: 0 }] }, /above 0/],
      ['a prompt among layouts', { layouts: [{ prompt: 'a hill' } as never] }, /layouts\[0\]/],
      ['no layouts', { layouts: [] }, /1 to 8 pictures/],
    ]
    for (const [what, request, message] of rows) {
      it(what, async () => {
        await assert.rejects(mix(request), (error: Error & { code: string }) => {
          assert.match(error.code, /INVALID_ARGUMENT|UNKNOWN_OPTION/)
          assert.match(error.message, message)
          return true
        })
      })
    }

    it('content beside contents, and layout beside layouts', async () => {
      const both = { ...common, ...picture, ...window }
      await assert.rejects(
        mixer.mix({ ...both, contents: [{ prompt: 'a' }] }),
        coded('INVALID_ARGUMENT', /nothing beside content for contents/),
      )
      await assert.rejects(
        mixer.mix({ ...both, layouts: [picture.layout] }),
        coded('INVALID_ARGUMENT', /nothing beside layout for layouts/),
      )
      const { content: _, ...without } = both
      await assert.rejects(mixer.mix(without), coded('INVALID_ARGUMENT', /for content/))
    })

    it('a map that is no picture, by its name', async () => {
      const unreadable = coded('PICTURE_UNREADABLE', /picture of nuMap .*cannot be read/)
      await assert.rejects(mix({ nuMap: Buffer.from('no picture') }), unreadable)
      await assert.rejects(mix({ nuMap: 'missing.png' }), unreadable)
      await assert.rejects(mixer.check({ ...common, ...picture, nuMap: 'missing.png' }), unreadable)
      const second = coded('PICTURE_UNREADABLE', /picture of layouts\[1\] \(missing\.png\)/)
      await assert.rejects(mix({ layouts: [picture.layout, 'missing.png'] }), second)
    })
  })

  describe('in a sweep', () => {
    const { trace: _, ...plain } = { ...common, ...window }
    const ofPrompt = { ...plain, layout: { prompt: 'a loaf' } }
    // The layout's run takes 6 steps, or 10 with a map of kMax.
    const rows: [what: string, request: SweepRequest, calls: number][] = [
      ['maps of nu', { ...ofPrompt, vary: { nuMap: [null, grey, leftBlack] } }, 6 + 1 + 3 * 5],
      ['maps of kMax', { ...ofPrompt, vary: { kMaxMap: [null, grey] } }, 10 + 1 + 2 * 5],
      [
        'schedules of nu',
        { ...plain, ...picture, vary: { nu: [0.3, [0.3, 0.8], { from: 0.2, to: 0.9 }] } },
        1 + 2 * 5 + 4,
      ],
      [
        'contents',
        {
          ...{ ...ofPrompt, content: undefined },
          vary: { contents: [[{ prompt: 'a' }], [{ prompt: 'a' }, { prompt: 'b' }]] },
        },
        6 + 2 * 6,
      ],
      [
        'layouts',
        { ...plain, vary: { layouts: [[picture.layout], [picture.layout, other]] } },
        2 * 6,
      ],
    ]
    for (const [what, request, calls] of rows) {
      it(`has the bytes of single mixes: ${what}`, async () => {
        const sweep = mixer.sweep(request)
        assert.equal(sweep.plan.unetCalls, calls)
        const { vary: __, ...base } = request
        let made = 0
        for await (const { mix: cell, at } of sweep) {
          const single = await mixer.mix({ ...base, ...at } as MixRequest)
          assert.deepEqual(cell.data, single.data, JSON.stringify(Object.keys(at)))
          made += cell.unetCalls.full
        }
        assert.equal(made, calls)
        const { width } = await sweep
          .sheet()
          .toSharp()
          .then((sheet) => sheet.metadata())
        assert.ok(width > 64)
      })
    }
  })

  describe('in recipes', () => {
    let folder: string
    before(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'magicmix-mixing-'))
    })
    after(() => rm(folder, { recursive: true, force: true }))

    const request = {
      ...{ ...window, width: 64, height: 64, steps: 10, seed: 1 },
      layouts: [picture.layout, { picture: other, weight: 0.5 }],
      contents: [
        { prompt: 'a corgi', attention: { corgi: 1.5 } },
        { prompt: 'a loaf', weight: 0.5 },
      ],
      nu: { from: 0.2, to: 0.9, curve: 'cosine' as const },
    }

    it('is carried by files, and made again from them', async () => {
      const file = path.join(folder, 'map.png')
      const { width, height, channels, data } = leftBlack
      await sharp(Buffer.from(data), { raw: { width, height, channels } }).png().toFile(file)
      const made = await mixer.mix({ ...request, nuMap: file, kMaxMap: file })
      const carried = await readRecipe(await made.toBuffer({ recipe: true }))
      assert.deepEqual(carried, made.recipe)
      assert.deepEqual(Object.keys(carried.pictures), [
        'layouts[0]',
        'layouts[1]',
        'nuMap',
        'kMaxMap',
      ])
      assert.equal(carried.layout, null)
      const { layouts: named, nuMap } = carried.request
      assert.equal((named![0]!.picture as { path: string }).path, 'landscape64.png')
      assert.equal((nuMap as { path: string }).path, 'map.png')

      const again = await mixer.mix({
        ...carried.request,
        layouts: named!.map(({ picture: each, weight }) => {
          return {
            picture: { ...(each as object), path: fixture((each as { path: string }).path) },
            weight,
          }
        }),
        ...{ nuMap: file, kMaxMap: file },
      })
      assert.deepEqual(again.data, made.data)
      // Its own request is made of what can be read again.
      assert.deepEqual((await mixer.mix(made.request)).data, made.data)
    })

    it('is JSON', async () => {
      const json = JSON.stringify(recipe({ ...request, nuMap: leftBlack }))
      const mixes = [
        await mixer.mix(JSON.parse(json) as MixRequest),
        await mixer.mix({ ...request, nuMap: leftBlack }),
      ]
      assert.deepEqual(mixes[0]!.data, mixes[1]!.data)
    })
  })
})
