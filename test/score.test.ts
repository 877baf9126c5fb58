/** Scores: what the UNet and the latents say of a mix, without changing it; and the best cell of a sweep. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, readRecipe } from 'magicmix'
import type {
  BestOptions,
  LoadOptions,
  Mix,
  MixRequest,
  MixScore,
  ProgressEvent,
  SweepCell,
  SweepProgressEvent,
  SweepRequest,
} from 'magicmix'

import { pixelsOf } from './support/golden.js'
import { tiny2Heads, tiny2Model, tinyXlHeads, tinyXlModel } from './support/models.js'
import { idsOf, native, nativeOf } from './support/native.js'
import { fixture } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const picture = { layout: fixture('landscape64.png'), content: 'a corgi', width: 64, height: 64 }
/** Begins at state 4; states 5 and 6 are mixed. */
const ten = { ...picture, steps: 10, kMax: 0.6, kMin: 0.3, seed: 1 }
const fromPrompt = { ...ten, layout: { prompt: 'a loaf' } }
const cells = 8 * 8

describe('score', () => {
  let mixer: MagicMix
  before(async () => (mixer = await MagicMix.load(await tinyOptions())))
  after(() => mixer.dispose())

  const rejects = (code: string, message: RegExp, run: () => unknown) =>
    assert.rejects(Promise.resolve().then(run), coded(code, message))

  it('of several contents is the mean of theirs by their weights', async () => {
    // The same latent, whatever the contents: nothing of them is in it.
    const scored = async (contents: MixRequest['contents']) => {
      const { content: _, ...rest } = ten
      const black = { data: new Uint8Array(64), width: 8, height: 8, channels: 1 as const }
      const { score } = await mixer.mix({ ...rest, contents, kMaxMap: black, score: true })
      return score!.content
    }
    const [one, other] = [
      await scored([{ prompt: 'a corgi' }]),
      await scored([{ prompt: 'a loaf' }]),
    ]
    const both = await scored([{ prompt: 'a corgi', weight: 3 }, { prompt: 'a loaf' }])
    assert.ok(Math.abs(both - (0.75 * one + 0.25 * other)) < 1e-4, `${both}, ${one}, ${other}`)
    assert.ok(Math.abs(one - other) > 1e-3)
    const away = await scored([
      { prompt: 'a corgi', weight: 3 },
      { prompt: 'a loaf', weight: -1 },
    ])
    assert.ok(Math.abs(away - one) < 1e-4)
  })

  describe('the picture', () => {
    const requests: Record<string, MixRequest> = {
      'a picture as layout': ten,
      'a prompt as layout': fromPrompt,
      'fresh noise in every step': { ...fromPrompt, sampler: 'euler_a' },
      'a sampler with a memory': { ...fromPrompt, sampler: 'dpm++2m' },
      'a cache, and a negative prompt': {
        ...fromPrompt,
        cache: { every: 3 },
        negativePrompt: 'a hill',
      },
      'no guidance': { ...ten, guidanceScale: 1 },
      'scaled words, between two prompts': {
        ...ten,
        attention: { corgi: -1 },
        interpolate: { prompt: 'a loaf', weight: 0.5 },
      },
      'maps, several layouts and contents': {
        ...{ ...ten, layout: undefined, content: undefined },
        layouts: [picture.layout, fixture('landscape256.png')],
        contents: [{ prompt: 'a corgi' }, { prompt: 'a loaf', weight: 0.5 }],
        ...{
          nuMap: picture.layout,
          kMaxMap: fixture('landscape256.png'),
          nu: { from: 0.2, to: 0.9 },
        },
      },
      'a map of kMax and a layout prompt': { ...fromPrompt, kMaxMap: picture.layout },
      'no step of the layout alone': { ...fromPrompt, kMin: 0, kMax: 1 },
    }
    for (const [what, request] of Object.entries(requests)) {
      it(`is the same to the byte, with ${what}`, async () => {
        const plain = await mixer.mix(request)
        const scored = await mixer.mix({ ...request, score: true })
        assert.deepEqual(scored.data, plain.data)
        assert.equal(plain.score, null)
        assertShares(scored.score)
      })
    }
  })

  describe('the numbers', () => {
    const models: Record<string, () => Promise<LoadOptions>> = {
      'Stable Diffusion 1.x': async () => ({ ...(await tinyOptions()), precision: 'f32' }),
      'a model that predicts v': async () => ({
        model: await tiny2Model(),
        config: { ...tiny2Heads, unet: { ...tiny2Heads.unet, prediction: 'v_prediction' } },
        precision: 'f32',
        threads: 1,
      }),
      'Stable Diffusion XL': async () => ({
        model: await tinyXlModel(),
        config: tinyXlHeads,
        precision: 'f32',
        threads: 1,
      }),
    }
    for (const [name, options] of Object.entries(models)) {
      describe(`of ${name}`, () => {
        let own: MagicMix
        before(async () => (own = await MagicMix.load(await options())))
        after(() => own.dispose())

        it('are the errors of what the UNet predicts', async () => {
          const negativePrompt = 'a hill' // not what the prompts are compared with
          const request = { ...fromPrompt, negativePrompt, score: true, trace: true }
          const mix = await own.mix(request)
          const clean = mix.trace.at(-1)!.latent
          const { content, layoutPrompt, layout } = mix.score!
          near(content, await presence(own, 'a corgi', clean))
          near(layoutPrompt!, await presence(own, 'a loaf', clean))
          assert.notEqual(content, layoutPrompt)

          assert.equal(mix.layoutTrace.at(-1)!.index, 10)
          near(layout, structureKept(mix.layoutTrace.at(-1)!.latent, clean))
        })

        it('compare the latent of a picture', async () => {
          const mix = await own.mix({ ...ten, score: true, trace: true })
          const pixels = { ...(await pixelsOf(picture.layout)), stages: false }
          const { mean } = await nativeOf(own).encodePicture(pixels).done
          const z0 = mean.map((value) => value * own.model.sizes.vae.scalingFactor)
          near(mix.score!.layout, structureKept(z0, mix.trace.at(-1)!.latent))
          assert.equal(mix.score!.layoutPrompt, undefined)
        })
      })
    }

    it('are the same for the same latent, whatever led there', async () => {
      // Of a mix that begins at the clean end, no step is mixed.
      const plain = { ...ten, kMin: 0.1, kMax: 0.1, score: true }
      const a = await mixer.mix({ ...plain, nu: 0.2 })
      const b = await mixer.mix({ ...plain, nu: 0.9 })
      assert.deepEqual(a.score, b.score)
    })

    it('say that an empty content wants nothing else', async () => {
      assert.equal((await mixer.mix({ ...ten, content: '', score: true })).score!.content, 1)
    })

    it('say that a layout prompt alone is all of its layout', async () => {
      const { score } = await mixer.mix({ ...fromPrompt, content: 'a loaf', kMax: 1, score: true })
      assert.equal(score!.layout, 1)
      assert.equal(score!.layoutPrompt, score!.content)
    })
  })

  describe('its work', () => {
    it('is counted, known before, and told', async () => {
      for (const [request, layout] of [
        [ten, 0],
        [fromPrompt, 10],
      ] as const) {
        const { steps } = await mixer.check({ ...request, score: true })
        assert.deepEqual(steps, { layout, content: 6, score: 4 })
        assert.equal((await mixer.check(request)).steps.score, 0)
        const events: ProgressEvent[] = []
        const mix = await mixer.mix({
          ...request,
          score: true,
          onProgress: (event) => events.push(event),
        })
        assert.equal(mix.score!.unetCalls, 4)
        assert.deepEqual(mix.unetCalls, { full: layout + 6, cached: 0, unguided: 0 })
        assert.equal(mix.timings.steps.length, layout + 6)
        assert.ok(mix.timings.score > 0)
        const told = events.filter(({ stage }) => stage === 'score')
        assert.deepEqual(
          told.at(-1) && [told.at(-1)!.step, told.at(-1)!.steps, told.at(-1)!.timestep],
          [4, 4, 400],
        )
        const stages = [...new Set(events.map(({ stage }) => stage))]
        assert.deepEqual(stages.slice(-3), ['content', 'score', 'decode'])
      }
    })

    it('can be cancelled, and the next mix is as before', async () => {
      const before = await mixer.mix(fromPrompt)
      const controller = new AbortController()
      const onProgress = ({ stage }: ProgressEvent) => {
        if (stage === 'score') controller.abort(new Error('enough'))
      }
      const { signal } = controller
      await assert.rejects(mixer.mix({ ...fromPrompt, score: true, signal, onProgress }), /enough/)
      assert.deepEqual((await mixer.mix(fromPrompt)).data, before.data)
    })
  })

  describe('in a sweep', () => {
    const request: SweepRequest = {
      ...fromPrompt,
      score: true,
      vary: { nu: [0.2, 0.8], kMin: [0.1, 0.3] },
    }

    it('is that of single mixes, for the calls that the plan says', async () => {
      for (const layout of [fromPrompt.layout, picture.layout]) {
        let last: SweepProgressEvent | undefined
        let done = 0
        const sweep = mixer.sweep({
          ...request,
          layout,
          onProgress: (event) => {
            last = event
            assert.ok(event.unetCalls.done >= done)
            done = event.unetCalls.done
          },
        })
        let calls = 0
        for await (const { mix, at } of sweep) {
          const single = await mixer.mix({ ...ten, ...at, layout, score: true })
          assert.deepEqual(mix.score, single.score)
          assert.deepEqual(mix.data, single.data)
          calls += callsOf(mix)
        }
        assert.equal(calls, sweep.plan.unetCalls)
        assert.deepEqual(last!.unetCalls, { done: calls, all: calls })
        const ofLayout = layout === picture.layout ? 0 : 10
        assert.equal(sweep.plan.unetCallsOfSingleMixes, 4 * (ofLayout + 6 + 4))
      }
    })

    it('tells the best of the cells that are there', async () => {
      const sweep = mixer.sweep(request)
      assert.equal(sweep.best(), undefined)
      for await (const cell of sweep) {
        assert.equal(sweep.best()?.index, cell.index)
        break
      }
      for await (const cell of sweep) void cell
      const of = (balance: number) => sweep.best({ balance })!
      const byHand = (worth: (score: MixScore) => number) =>
        Math.max(...sweep.finished.map(({ mix }) => worth(mix.score!)))
      assert.equal(
        of(0).mix.score!.layout,
        byHand(({ layout }) => layout),
      )
      assert.equal(
        of(1).mix.score!.content,
        byHand(({ content }) => content),
      )
      const contents = sweep.finished.map(({ mix }) => mix.score!.content)
      const [low, high] = [Math.min(...contents), Math.max(...contents)]
      for (const balance of [0.25, 0.5]) {
        const worth = ({ content, layout }: MixScore) =>
          1 / ((balance * (high - low)) / (content - low) + (1 - balance) / layout)
        near(worth(of(balance).mix.score!), byHand(worth))
      }
      assert.equal(sweep.best(), of(0.5))
    })

    it('is in the folder of cells', async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-score-'))
      try {
        const sweep = { ...request, cells: folder }
        const made = await all(mixer.sweep(sweep))
        const again = mixer.sweep(sweep)
        const restored = await all(again)
        assert.deepEqual(
          restored.map(({ mix }) => mix.score),
          made.map(({ mix }) => mix.score),
        )
        assert.ok(again.best())
        await rejects('INVALID_ARGUMENT', /another sweep: score differs/, () =>
          all(mixer.sweep({ ...sweep, score: false })),
        )
        const index = path.join(folder, 'sweep.json')
        const text = await readFile(index, 'utf8')
        for (const lie of ['"content": "much"', '"content": null', '"contents": 1']) {
          await writeFile(index, text.replace(/"content": [\d.]+/, lie))
          await rejects('INVALID_ARGUMENT', /is not that of a sweep/, () => all(mixer.sweep(sweep)))
        }
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    it('is refused where it makes no sense', async () => {
      await rejects('UNKNOWN_OPTION', /score/, () =>
        mixer.sweep({ ...request, vary: { score: [true] } } as unknown as SweepRequest),
      )
      await rejects('INVALID_ARGUMENT', /score/, () =>
        mixer.mix({ ...ten, score: 'yes' } as unknown as MixRequest),
      )
      const sweep = mixer.sweep(request)
      const best = (options: unknown) => () => sweep.best(options as BestOptions)
      await rejects('INVALID_ARGUMENT', /balance/, best({ balance: 1.1 }))
      await rejects('INVALID_ARGUMENT', /balance/, best({ balance: NaN }))
      await rejects('INVALID_ARGUMENT', /balance/, best({ balance: '1' }))
      await rejects('INVALID_ARGUMENT', /options of best/, best(1))
      await rejects('UNKNOWN_OPTION', /did you mean 'balance'/, best({ balanse: 1 }))
      await rejects('INVALID_ARGUMENT', /Expected true, for best to choose by, for score/, () =>
        mixer.sweep({ ...request, score: false }).best(),
      )
    })
  })

  it('is in the JSON of a mix, and comes again with its recipe', async () => {
    const mix = await mixer.mix({ ...fromPrompt, score: true })
    assert.deepEqual(
      (JSON.parse(JSON.stringify(mix)) as { score: MixScore }).score,
      JSON.parse(JSON.stringify(mix.score)),
    )
    const recipe = await readRecipe(await mix.toBuffer({ recipe: true }))
    assert.equal(recipe.request.score, true)
    const again = await mixer.mix(recipe.request)
    assert.deepEqual([again.data, again.score], [mix.data, mix.score])
  })
})

async function all(sweep: AsyncIterable<SweepCell>): Promise<SweepCell[]> {
  const made: SweepCell[] = []
  for await (const cell of sweep) made.push(cell)
  return made
}

function callsOf({ unetCalls, score }: Mix): number {
  return unetCalls.full + unetCalls.cached + (score?.unetCalls ?? 0)
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 2e-4, `${actual} is not ${expected}`)
}

function assertShares(score: MixScore | null): void {
  const { content, layoutPrompt = 0.5, layout } = score!
  for (const share of [content, layoutPrompt, layout]) assert.ok(share > 0 && share <= 1)
}

// -------------------------------------------------------------------------------------------------
// The same from the UNet's single predictions, one prompt at a time

async function presence(mixer: MagicMix, prompt: string, clean: Float32Array): Promise<number> {
  const engine = nativeOf(mixer)
  const states = await engine.encodeText(idsOf(mixer, prompt)).done
  const empty =
    mixer.model.family === 'sdxl' // which takes zeros where there is no prompt
      ? {
          states: new Float32Array(states.states.length),
          pooled: new Float32Array(states.pooled.length),
        }
      : await engine.encodeText(idsOf(mixer, '')).done
  const noises = native.randn(0, 4 * clean.length)
  const at = async (timestep: number, first: number) => {
    const a = alphaBar(timestep)
    let [ofEmpty, ofPrompt, between] = [0, 0, 0]
    for (const n of [first, first + 1]) {
      const noise = noises.subarray(n * clean.length, (n + 1) * clean.length)
      const latent = clean.map((z, k) => Math.sqrt(a) * z + Math.sqrt(1 - a) * noise[k]!)
      const input = { latent, latentWidth: 8, latentHeight: 8, timestep, stages: false }
      const predict = async (text: typeof states) =>
        (await engine.predictNoise({ ...input, ...text, attention: [] }).done).epsilon
      const [none, some] = [await predict(empty), await predict(states)]
      noise.forEach((e, k) => {
        ofEmpty += (e - none[k]!) ** 2
        ofPrompt += (e - some[k]!) ** 2
        between += (none[k]! - some[k]!) ** 2
      })
    }
    return { explained: 1 - ofPrompt / ofEmpty, wanted: Math.sqrt(between / ofEmpty) }
  }
  const { explained } = await at(800, 0)
  const { wanted } = await at(400, 2)
  return 1 / (1 + wanted * Math.exp(-2.5 * explained))
}

/** Of Stable Diffusion's noise schedule. */
function alphaBar(timestep: number): number {
  const [from, to] = [Math.sqrt(0.00085), Math.sqrt(0.012)]
  let product = 1
  for (let t = 0; t <= timestep; t++) product *= 1 - (from + ((to - from) * t) / 999) ** 2
  return product
}

function structureKept(layout: Float32Array, mixed: Float32Array): number {
  const [a, b] = [object(layout), object(mixed)]
  const sum = (f: (i: number) => number) => a.reduce((total, _, i) => total + f(i), 0)
  return sum((i) => Math.min(a[i]!, b[i]!)) / sum((i) => Math.max(a[i]!, b[i]!))
}

/** How far the cells are from the median of the border, in root mean squares, at most 1. */
function object(latent: Float32Array): number[] {
  const isBorder = (i: number) => [0, 7].includes(i % 8) || [0, 7].includes(Math.floor(i / 8))
  const squares = new Array<number>(cells).fill(0)
  for (let c = 0; c < 4; c++) {
    const plane = [...latent.subarray(c * cells, (c + 1) * cells)]
    const border = plane.filter((_, i) => isBorder(i)).sort((p, q) => p - q)
    const median = border[border.length >> 1]!
    plane.forEach((value, i) => (squares[i]! += (value - median) ** 2))
  }
  const mean = squares.reduce((total, square) => total + square, 0) / cells
  return squares.map((square) => Math.min(1, Math.sqrt(square / mean)))
}
