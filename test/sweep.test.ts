/** Sweeps: the bytes of single mixes for fewer calls of the UNet, in an order that fills the sheet. */
import assert from 'node:assert/strict'
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'

import { MagicMix, MagicMixError } from 'magicmix'
import type { Mix, Sweep, SweepCell, SweepProgressEvent, SweepRequest } from 'magicmix'

import { fieldFile } from './support/field.js'
import { nativeOf } from './support/native.js'
import { fixture, packageRoot } from './support/package-root.js'
import { tinyXlHeads, tinyXlModel } from './support/models.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const picture = { layout: fixture('landscape64.png'), content: 'a corgi', width: 64, height: 64 }
/** From a picture 6 steps run: the mix begins at state 4, and states 5 and 6 are mixed. */
const ten = { ...picture, steps: 10, kMax: 0.6, kMin: 0.3, seed: 1 }
const prompt = { layout: { prompt: 'a loaf' } }

type Row = [what: string, request: SweepRequest, calls: number, ofSingleMixes: number]

/** What every row should cost is counted by hand. */
const rows: Row[] = [
  // The first call of a mix is the same for every nu.
  ['nu and kMax', { ...ten, vary: { nu: [0.3, 0.6, 0.9], kMax: [0.5, 0.6] } }, 13 + 16, 33],
  // 0.1 mixes states 5..8, 0.3 two of them, 0.5 none.
  ['kMin', { ...ten, vary: { kMin: [0.1, 0.3, 0.5] } }, 6 + 3 + 5, 18],
  ['kMin and nu', { ...ten, vary: { kMin: [0.1, 0.3], nu: [0.3, 0.9] } }, 1 + 2 * (5 + 3), 24],
  ['nu where nothing is mixed', { ...ten, kMin: 0.6, vary: { nu: [0.3, 0.9] } }, 6, 12],
  ['nu down to 0', { ...ten, kMin: 0, vary: { nu: { from: 0, to: 1, count: 3 } } }, 1 + 15, 18],
  ['seeds', { ...ten, vary: { seed: [1, 2], nu: [0.3, 0.9] } }, 22, 24],
  ['contents', { ...ten, vary: { content: ['a corgi', 'a loaf'], kMin: [0.1, 0.3] } }, 18, 24],
  [
    'layouts',
    { ...ten, vary: { layout: [picture.layout, fixture('landscape256.png'), prompt.layout] } },
    18 + 6,
    24,
  ],
  ['the size', { ...ten, vary: { width: [64, 72] } }, 12, 12],
  ['samplers', { ...ten, vary: { sampler: ['ddim', 'euler', 'dpm++2m'] } }, 18, 18],
  ['steps', { ...ten, vary: { steps: [5, 10] } }, 9, 9],
  // A window from 0.3 on begins to count at step 7.
  [
    'the scale of a phrase in a window',
    {
      ...ten,
      vary: { attention: [-1, 2].map((scale) => [{ text: 'corgi', scale, from: 0, to: 0.3 }]) },
    },
    6 + 3,
    12,
  ],
  ['the scale of a phrase', { ...ten, vary: { attention: [{}, { corgi: 2 }] } }, 12, 12],
  // Steps 4 and 5 are above 0.35 (timesteps 501 and 401).
  [
    'where guidance ends',
    {
      ...ten,
      vary: {
        guidanceInterval: [
          [0, 1],
          [0.35, 1],
        ],
      },
    },
    10,
    12,
  ],
  [
    'guidance that begins late',
    { ...ten, guidanceInterval: [0, 0.35], vary: { guidanceScale: [3, 7.5] } },
    10,
    12,
  ],
  [
    'a negative prompt that counts late',
    { ...ten, guidanceInterval: [0, 0.35], vary: { negativePrompt: ['', 'rain'] } },
    10,
    12,
  ],
  ['no guidance', { ...ten, guidanceScale: 1, vary: { negativePrompt: ['', 'rain'] } }, 6, 12],
  [
    'another prompt, to no part of it',
    { ...ten, vary: { interpolate: [null, { prompt: 'rain', weight: 0.5 }] } },
    12,
    12,
  ],
  // Whole calls at 4, 6, 8 and 9: the second cell begins at 7, where its own mixing ends.
  ['kMin with a cache', { ...ten, cache: { every: 2 }, vary: { kMin: [0.1, 0.3] } }, 6 + 3, 12],
  // The other way round it would begin at 7, whose call is none with features of its own: at 6.
  [
    'kMin with a cache, the longer mixing last',
    { ...ten, cache: { every: 2 }, vary: { kMin: [0.3, 0.1] } },
    6 + 4,
    12,
  ],
  // Steps 4 and 5 are the same with 2 and 3, and step 6 is whole with 2.
  ['the cache', { ...ten, vary: { cache: [null, { every: 2 }, { every: 3 }] } }, 16, 18],
  ['sets of the cache', { ...ten, vary: { fast: ['off', 'safe', 'max'] } }, 16, 18],
  // A layout prompt's run has 6 steps; the content's begin at state 4 of it.
  ['nu with a layout prompt', { ...ten, ...prompt, vary: { nu: [0.3, 0.9] } }, 6 + 1 + 10, 24],
  [
    'contents with a layout prompt',
    { ...ten, ...prompt, vary: { content: ['a corgi', 'a loaf'] } },
    6 + 12,
    24,
  ],
  // One run of 8 steps; content 4 + 3 from state 6, 6 + 3 from state 4.
  [
    'kMax and kMin with a layout prompt',
    { ...ten, ...prompt, vary: { kMax: [0.4, 0.6], kMin: [0.1, 0.3] } },
    8 + 16,
    48,
  ],
  [
    'guidance with a layout prompt',
    {
      ...ten,
      ...prompt,
      vary: {
        guidanceInterval: [
          [0, 1],
          [0.45, 1],
        ],
      },
    },
    // Steps 0 to 5 are guided in both, from t 501 on.
    6 + 6 + (1 + 5),
    24,
  ],
  [
    'all of it at once',
    { ...ten, vary: { kMin: [0.1, 0.3], nu: [0.3, 0.9], seed: [1, 2] } },
    34,
    48,
  ],
  ...(['euler', 'euler_a', 'dpm++2m', 'lcm', 'tcd'] as const).flatMap((sampler): Row[] => [
    [`kMin by ${sampler}`, { ...ten, sampler, vary: { kMin: [0.1, 0.3, 0.5] } }, 6 + 3 + 5, 18],
    [
      `kMin and nu by ${sampler}, with a layout prompt`,
      { ...ten, ...prompt, sampler, vary: { kMin: [0.1, 0.3], nu: [0.3, 0.9] } },
      8 + 1 + 2 * (5 + 3),
      2 * (8 + 6) + 2 * (6 + 6),
    ],
  ]),
  ['kMin with fresh noise', { ...ten, eta: 1, vary: { kMin: [0.1, 0.3, 0.5] } }, 14, 18],
  [
    'fresh noise and nu with a layout prompt',
    { ...ten, ...prompt, eta: 0.5, kMin: 0, vary: { nu: [0.3, 0.9] } },
    9 + 1 + 10,
    30,
  ],
  ['states are kept by none', { ...ten, trace: true, vary: { kMin: [0.1, 0.3] } }, 12, 12],
]

describe('a sweep', function () {
  this.timeout(120_000)
  let mixer: MagicMix
  let single: MagicMix
  let folder: string
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
    single = await MagicMix.load({ ...(await tinyOptions()), cacheBytes: 0 })
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-sweep-'))
  })
  after(async () => {
    await Promise.all([mixer.dispose(), single.dispose()])
    await rm(folder, { recursive: true, force: true })
  })

  const callsOf = ({ unetCalls: { full, cached } }: Mix) => full + cached
  const sum = (numbers: number[]) => numbers.reduce((all, each) => all + each, 0)
  async function all(sweep: Sweep): Promise<SweepCell[]> {
    const cells: SweepCell[] = []
    for await (const cell of sweep) cells.push(cell)
    return cells
  }
  async function assertAsSingle(cells: readonly SweepCell[]): Promise<number> {
    const calls: number[] = []
    for (const { mix, at } of cells) {
      const own = await single.mix(mix.request)
      assert.deepEqual(mix.data, own.data, JSON.stringify(at))
      assert.deepEqual(mix.trace, own.trace)
      calls.push(callsOf(own))
    }
    return sum(calls)
  }

  describe('has the bytes of single mixes, and calls the UNet as often as it says, over', () => {
    for (const [what, request, calls, ofSingleMixes] of rows) {
      it(what, async () => {
        const sweep = mixer.sweep(request)
        const plan = { cells: sweep.plan.cells, unetCalls: calls }
        assert.deepEqual(sweep.plan, { ...plan, unetCallsOfSingleMixes: ofSingleMixes })
        const cells = await all(sweep)
        assert.equal(sum(cells.map(({ mix }) => callsOf(mix))), calls)
        assert.equal(await assertAsSingle(cells), ofSingleMixes)
        const different = new Set(cells.map(({ mix }) => Buffer.from(mix.data).toString('base64')))
        const same = ['nu where nothing is mixed', 'no guidance'].includes(what)
        assert.ok(same ? different.size === 1 : different.size > cells.length / 2)
      })
    }

    it('LoRAs, one after the other', async () => {
      const file = fieldFile('files/control-lora-kohya.safetensors')
      const vary = { nu: [0.3, 0.6, 0.9], loras: [[], [{ file }]] }
      const sweep = mixer.sweep({ ...ten, vary })
      assert.deepEqual(sweep.plan, { cells: 6, unetCalls: 32, unetCallsOfSingleMixes: 36 })
      const cells = await all(sweep)
      assert.deepEqual(
        cells.map(({ index }) => index),
        [0, 2, 3, 5, 1, 4],
      )
      assert.equal(sum(cells.map(({ mix }) => callsOf(mix))), 32)
      await assertAsSingle(cells)
    })

    it('whatever is mixed in between, and with another sweep beside it', async () => {
      const request = { ...ten, vary: { kMin: [0.1, 0.3, 0.5], nu: [0.3, 0.9] } }
      const [one, other] = [mixer.sweep(request), mixer.sweep({ ...request, seed: 2 })]
      const between = (async () => {
        for (let i = 0; i < 5; i++) await mixer.mix({ ...ten, ...prompt, kMin: 0.1 })
      })()
      const made = await Promise.all([all(one), all(other), between])
      for (const [i, sweep] of [one, other].entries()) {
        const cells = made[i] as SweepCell[]
        assert.equal(sum(cells.map(({ mix }) => callsOf(mix))), sweep.plan.unetCalls)
        await assertAsSingle(cells)
      }
    })
  })

  it('costs what the guide says', async () => {
    const guide = path.join(packageRoot, 'docs', 'guides', 'sweeps.md')
    const text = await readFile(guide, 'utf8')
    const values = { nu: [0.3, 0.6, 0.9], kMax: [0.5, 0.6, 0.7], kMin: [0.1, 0.3, 0.5] }
    const told = [...text.matchAll(/\| `(\w+)` x `(\w+)` +\| a (\w+) +\| (\d+) +\| (\d+) +\|/g)]
    assert.equal(told.length, 6)
    for (const [row, one, other, layout, calls, ofSingleMixes] of told) {
      const kMin = other === 'kMax' ? [0.1, 0.2, 0.3] : values.kMin
      const vary = Object.fromEntries([one!, other!].map((name) => [name, { ...values, kMin }[name as 'nu']])) // prettier-ignore
      const { content } = picture
      const request = { content, ...(layout === 'prompt' ? prompt : { layout: picture.layout }) }
      const { plan } = mixer.sweep({ ...request, vary })
      assert.deepEqual(
        [plan.unetCalls, plan.unetCallsOfSingleMixes],
        [calls, ofSingleMixes].map(Number),
        row,
      )
    }
  })

  describe('comes', () => {
    const quick = { ...picture, steps: 1, kMax: 1, kMin: 0, seed: 1 }
    const orderOf = async (vary: SweepRequest['vary']) =>
      (await all(mixer.sweep({ ...quick, vary }))).map(({ index }) => index)

    it('from coarse to fine', async () => {
      assert.deepEqual(await orderOf({ nu: { from: 0, to: 1, count: 5 } }), [0, 4, 2, 1, 3])
      assert.deepEqual(
        await orderOf({ nu: [0.3, 0.6, 0.9], guidanceScale: [1, 2, 3] }),
        [0, 2, 6, 8, 1, 3, 4, 5, 7],
      )
      assert.deepEqual(await orderOf({ nu: [0.5], seed: [1, 2], steps: [1, 2] }), [0, 1, 2, 3])
    })

    it('with its place and what was varied', async () => {
      const sweep = mixer.sweep({ ...quick, vary: { nu: [0.2, 0.4], content: ['a', 'b'] } })
      const cells = await all(sweep)
      assert.deepEqual(
        cells.map(({ index, at }) => [index, at]),
        [
          [0, { nu: 0.2, content: 'a' }],
          [1, { nu: 0.4, content: 'a' }],
          [2, { nu: 0.2, content: 'b' }],
          [3, { nu: 0.4, content: 'b' }],
        ],
      )
      assert.deepEqual(
        cells.map(({ mix: { request } }) => [request.nu, request.content]),
        cells.map(({ at }) => [at.nu, at.content]),
      )
      assert.deepEqual(sweep.axes, [
        { option: 'nu', values: [0.2, 0.4] },
        { option: 'content', values: ['a', 'b'] },
      ])
    })

    it('over ranges of round numbers, both ends included', () => {
      const valuesOf = (range: object) =>
        mixer.sweep({ ...ten, vary: { nu: range as never } }).axes[0]!.values
      assert.deepEqual(valuesOf({ from: 0.1, to: 0.7, step: 0.2 }), [0.1, 0.3, 0.5, 0.7])
      assert.deepEqual(valuesOf({ from: 0.9, to: 0.3, step: 0.3 }), [0.9, 0.6, 0.3])
      assert.deepEqual(valuesOf({ from: 0, to: 1, step: 0.4 }), [0, 0.4, 0.8])
      assert.deepEqual(
        valuesOf({ from: 0, to: 1, count: 4 }),
        [0, 0.333333333333, 0.666666666667, 1],
      )
    })

    it('with one seed for all if none is given, and wins over the option beside it', async () => {
      const { seed, ...rest } = quick
      const cells = await all(mixer.sweep({ ...rest, nu: 1, vary: { nu: [0.3, 0.6] } }))
      assert.equal(new Set(cells.map(({ mix }) => mix.seed)).size, 1)
      assert.deepEqual(
        cells.map(({ mix }) => mix.request.nu),
        [0.3, 0.6],
      )
    })

    it('from a mix that was liked', async () => {
      const liked = await mixer.mix(ten)
      const cells = await all(
        mixer.sweep({ ...liked.request, vary: { nu: [0.5, liked.request.nu] } }),
      )
      assert.deepEqual(cells[1]!.mix.data, liked.data)
    })

    it('from a layout that can be read once', async () => {
      const bytes = await readFile(picture.layout)
      const layout = new Blob([bytes]).stream()
      const cells = await all(mixer.sweep({ ...ten, layout, vary: { nu: [0.3, 0.6] } }))
      const own = await single.mix({ ...ten, nu: 0.6 })
      assert.deepEqual(cells[1]!.mix.data, own.data)
    })
  })

  it('reads layouts before it begins, and not again', async () => {
    const file = path.join(folder, 'layout.png')
    await copyFile(picture.layout, file)
    const cells: SweepCell[] = []
    for await (const cell of mixer.sweep({ ...ten, layout: file, vary: { nu: [0.3, 0.6] } })) {
      cells.push(cell)
      await copyFile(fixture('landscape256.png'), file)
    }
    const own = await single.mix({ ...ten, nu: 0.6 })
    assert.deepEqual(cells[1]!.mix.data, own.data)

    const missing = mixer.sweep({ ...ten, vary: { layout: [picture.layout, 'missing.png'] } })
    const expected = coded('PICTURE_UNREADABLE', /missing\.png.*\(in the cell missing\.png\)/s)
    await assert.rejects(all(missing), expected)
    assert.equal(missing.finished.length, 0)
  })

  describe('in batches of seeds', () => {
    const seed = [3, 1, 4, 15]
    const batched: [what: string, request: SweepRequest, batch: number][] = [
      ['the seeds alone', { ...ten, vary: { seed } }, 4],
      ['not as many as there are', { ...ten, vary: { seed } }, 3],
      ['with states that they share', { ...ten, vary: { nu: [0.3, 0.9], seed } }, 2],
      ['seeds first', { ...ten, vary: { seed, kMin: [0.1, 0.3, 0.5] } }, 3],
      [
        'in one order, whatever that of the cells is',
        { ...ten, vary: { kMin: [0.1, 0.3, 0.5], seed: [1, 2, 3] } },
        3,
      ],
      ['with a layout prompt and fresh noise', { ...ten, ...prompt, eta: 0.5, vary: { seed } }, 4],
      [
        'with a memory, a map and a cache',
        {
          ...{ ...ten, sampler: 'dpm++2m', nuMap: fixture('landscape64.png'), vary: { seed } },
          cache: { every: 2 },
        },
        4,
      ],
      [
        'with several contents, scaled, and a negative prompt',
        {
          ...{ ...ten, content: undefined, negativePrompt: 'rain', vary: { seed } },
          contents: [{ prompt: 'a corgi', attention: { corgi: -1 } }, { prompt: 'a loaf' }],
        },
        2,
      ],
      ['with scores', { ...ten, ...prompt, score: true, vary: { seed } }, 4],
    ]
    for (const [what, request, batch] of batched) {
      it(`has the mixes of single ones: ${what}`, async () => {
        const events: SweepProgressEvent[] = []
        const onProgress = (event: SweepProgressEvent) => void events.push(event)
        const sweep = mixer.sweep({ ...request, batch, onProgress })
        assert.deepEqual(sweep.plan, mixer.sweep(request).plan)
        const cells = await all(sweep)
        await assertAsSingle(cells)
        assert.deepEqual(
          cells.map(({ mix }) => [mix.seed, mix.recipe.request.seed, mix.score]),
          await Promise.all(
            cells.map(async ({ mix, at }) => [
              ...[at.seed, at.seed],
              (await single.mix(mix.request)).score,
            ]),
          ),
        )
        const done = events.map(({ unetCalls }) => unetCalls.done)
        assert.deepEqual(
          done,
          [...done].sort((a, b) => a - b),
        )
        assert.equal(done.at(-1), sweep.plan.unetCalls)
      })
    }

    it('computes them together', async () => {
      const jobs = new Set<number>()
      const onProgress = ({ cell }: SweepProgressEvent) => void jobs.add(cell.index)
      const made = await all(mixer.sweep({ ...ten, vary: { seed }, batch: 4, onProgress }))
      assert.equal(made.length, 4)
      assert.equal(jobs.size, 1)
      assert.equal(new Set(made.map(({ mix }) => mix.timings.steps)).size, 1)
    })

    it('goes on in a folder, with those that are missing', async () => {
      const cells = path.join(await mkdtemp(path.join(folder, 'batch-')), 'new')
      const request = { ...ten, vary: { seed, nu: [0.3, 0.9] }, batch: 3, cells }
      await mixer.sweep(request)[Symbol.asyncIterator]().next()
      assert.equal((await readdir(cells)).length, 3 + 1) // all of the batch, and the index
      await rm(path.join(cells, 'cell-0.png'))
      const made = await all(mixer.sweep(request))
      assert.equal(made.length, 8)
      await assertAsSingle(made)
    })

    it('can be aborted, and goes on', async () => {
      const aborting = new AbortController()
      const request = { ...ten, vary: { seed }, batch: 4 }
      const sweep = mixer.sweep({
        ...{ ...request, signal: aborting.signal },
        onProgress: ({ stage }) => stage === 'content' && aborting.abort(),
      })
      await assert.rejects(all(sweep), { name: 'AbortError' })
      assert.equal(sweep.finished.length, 0)
      await assertAsSingle(await all(mixer.sweep(request)))
    })

    it('is the same of Stable Diffusion XL, and of an isolated mixer', async () => {
      const model = { model: await tinyXlModel(), config: tinyXlHeads }
      const options = { ...model, device: 'cpu', precision: 'f32', threads: 1 } as const
      const request = { ...ten, vary: { seed } }
      await using one = await MagicMix.load(options)
      await using other = await MagicMix.load({ ...options, isolate: true })
      const right = await all(one.sweep(request))
      const batches = await all(other.sweep({ ...request, batch: 4 }))
      const bytes = (made: SweepCell[]) =>
        [...made].sort((a, b) => a.index - b.index).map(({ mix }) => [...mix.data])
      assert.deepEqual(bytes(batches), bytes(right))
    })
  })

  it('tells how far the whole is', async () => {
    const events: SweepProgressEvent[] = []
    const onProgress = (event: SweepProgressEvent) => void events.push(event)
    const request = {
      ...ten,
      ...prompt,
      previewEvery: 1,
      vary: { kMin: [0.1, 0.3], nu: [0.3, 0.9] },
    }
    const sweep = mixer.sweep({ ...request, onProgress })
    await all(sweep)
    const done = events.map(({ unetCalls }) => unetCalls.done)
    assert.deepEqual(
      done,
      [...done].sort((a, b) => a - b),
    )
    const last = events.at(-1)!
    assert.deepEqual(last.unetCalls, { done: sweep.plan.unetCalls, all: sweep.plan.unetCalls })
    assert.deepEqual(last.cells, { done: 3, all: 4 })
    assert.deepEqual(last.cell, { index: 3, at: { kMin: 0.3, nu: 0.9 } })
    assert.equal(last.etaMs, 0)
    assert.ok(events.some(({ preview }) => preview))
    assert.ok(events.some(({ stage }) => stage === 'layout'))
  })

  describe('that ends early', () => {
    const request = { ...ten, vary: { kMin: [0.1, 0.3, 0.5], nu: [0.3, 0.9] } }

    it('keeps what is finished when it is aborted, and frees the rest', async () => {
      const stop = new AbortController()
      const reason = new Error('enough')
      let ended = 0
      const engine = nativeOf(mixer)
      const endSweep = engine.endSweep.bind(engine)
      const value = (number: number) => (ended++, endSweep(number))
      Object.defineProperty(engine, 'endSweep', { value, configurable: true })
      const sweep = mixer.sweep({
        ...{ ...request, signal: stop.signal },
        onProgress: ({ cells, stage }) => {
          if (cells.done === 2 && stage === 'content') stop.abort(reason)
        },
      })
      try {
        await assert.rejects(all(sweep), (error) => error === reason)
        assert.equal(ended, 1)
      } finally {
        Reflect.deleteProperty(engine, 'endSweep')
      }
      assert.deepEqual(
        sweep.finished.map(({ index }) => index),
        [0, 2],
      )
      await assertAsSingle(sweep.finished)
      assert.equal((await (await sweep.sheet().toSharp()).metadata()).channels, 3)
      await assert.rejects(all(sweep), (error) => error === reason || error instanceof Error)
      assert.deepEqual(mixer.queue, { running: 0, waiting: 0 })
    })

    it('is aborted before it begins', async () => {
      const reason = new Error('no')
      const sweep = mixer.sweep({ ...request, signal: AbortSignal.abort(reason) })
      await assert.rejects(all(sweep), (error) => error === reason)
    })

    it('goes on after a break, with as many calls in all', async () => {
      const sweep = mixer.sweep(request)
      for await (const { index } of sweep) if (index === 2) break
      assert.equal(sweep.finished.length, 2)
      const first = sweep.finished[0]
      const cells = await all(sweep)
      assert.equal(cells[0], first)
      assert.equal(sum(cells.map(({ mix }) => callsOf(mix))), sweep.plan.unetCalls)
      await assertAsSingle(cells)
      assert.deepEqual(await all(sweep), cells)
    })

    it('goes on after what onProgress threw', async () => {
      const reason = new Error('oops')
      let throwing = true
      const sweep = mixer.sweep({
        ...request,
        onProgress: ({ cells, stage }) => {
          if (throwing && cells.done === 3 && stage === 'content') throw reason
        },
      })
      await assert.rejects(all(sweep), (error) => error === reason)
      assert.equal(sweep.finished.length, 3)
      throwing = false
      await assertAsSingle(await all(sweep))
    })

    it('is made once, however often it is iterated over at the same time', async () => {
      const sweep = mixer.sweep(request)
      const [one, two] = await Promise.all([all(sweep), all(sweep)])
      assert.deepEqual(one, two)
      assert.equal(one[0], two[0])
    })

    it('with its mixer', async () => {
      const own = await MagicMix.load(await tinyOptions())
      const sweep = own.sweep(request)
      const cells = all(sweep)
      const rejected = assert.rejects(cells, { code: 'DISPOSED' })
      await new Promise((resolve) => setTimeout(resolve, 20))
      await own.dispose()
      await rejected
      await assert.rejects(all(sweep), { code: 'DISPOSED' })
      assert.throws(() => own.sweep(request), { code: 'DISPOSED' })
    })
  })

  describe('on a sheet', () => {
    /** Is the place of a cell blank? */
    async function blankPlaces(sweep: Sweep, columns: number): Promise<boolean[]> {
      const { data, info } = await (
        await sweep.sheet().toSharp()
      )
        .raw()
        .toBuffer({ resolveWithObject: true })
      const left = info.width - 12 - columns * 68 + 4
      const rows = sweep.plan.cells / columns
      const top = info.height - 12 - rows * 68 + 4
      return Array.from({ length: sweep.plan.cells }, (_, i) => {
        const x = left + (i % columns) * 68
        const y = top + Math.floor(i / columns) * 68
        const pixels = Array.from({ length: 64 * 64 }, (_, at) => {
          const first = 3 * ((y + Math.floor(at / 64)) * info.width + x + (at % 64))
          return data.subarray(first, first + 3)
        })
        return pixels.every((pixel) => pixel.every((level) => level === 238))
      })
    }
    // Wide enough for any title.
    const nus = { from: 0.1, to: 0.9, step: 0.1 }

    it('leaves blank what is not there yet', async () => {
      const sweep = mixer.sweep({ ...ten, steps: 2, vary: { nu: nus, guidanceScale: [1, 2] } })
      assert.deepEqual(await blankPlaces(sweep, 9), new Array(18).fill(true))
      for await (const { index } of sweep) {
        if (index === 17) break
      }
      const expected = Array.from({ length: 18 }, (_, i) => ![0, 8, 9, 17].includes(i))
      assert.deepEqual(await blankPlaces(sweep, 9), expected)
      await all(sweep)
      assert.deepEqual(await blankPlaces(sweep, 9), new Array(18).fill(false))
    })

    it('is a picture in every format, and a file', async () => {
      const sweep = mixer.sweep({ ...ten, steps: 2, vary: { nu: [0.1, 0.9] } })
      await all(sweep)
      for (const format of ['png', 'jpeg', 'webp'] as const) {
        assert.equal((await sharp(await sweep.sheet().toBuffer(format)).metadata()).format, format)
      }
      const file = path.join(folder, 'sheet.webp')
      await sweep.sheet().toFile(file)
      assert.equal((await sharp(file).metadata()).format, 'webp')
      await assert.rejects(sweep.sheet().toFile('sheet.doc'), { code: 'INVALID_ARGUMENT' })
      const nowhere = path.join(folder, 'no', 'sheet.png')
      await assert.rejects(sweep.sheet().toFile(nowhere), { code: 'PICTURE_UNWRITABLE' })
      await assert.rejects(sweep.sheet().toBuffer('gif' as never), { code: 'INVALID_ARGUMENT' })
    })

    it('has room for cells of several sizes, and for long labels', async () => {
      const content = ['a corgi', 'a photo of a very large coffee machine with a long name']
      const sweep = mixer.sweep({ ...ten, steps: 2, vary: { width: [64, 96], content } })
      await all(sweep)
      const { width = 0, height = 0 } = await sharp(await sweep.sheet().toBuffer()).metadata()
      assert.ok(width >= 2 * 96 && height >= 2 * 64)
    })
  })

  describe('in a folder', () => {
    const request = { ...ten, vary: { kMin: [0.1, 0.3, 0.5], nu: [0.3, 0.9] } }
    const fresh = async () => path.join(await mkdtemp(path.join(folder, 'cells-')), 'new')

    async function half(more: Partial<SweepRequest> = {}): Promise<string> {
      const cells = await fresh()
      let count = 0
      for await (const { index } of mixer.sweep({ ...request, ...more, cells })) {
        assert.ok(index < 6)
        if (++count === 3) break
      }
      return cells
    }

    it('writes every cell as it comes', async () => {
      const cells = await fresh()
      const seen: number[] = []
      for await (const { index, mix } of mixer.sweep({ ...request, cells })) {
        seen.push(index)
        const files = (await readdir(cells)).sort()
        const names = seen.map((each) => `cell-${each}.png`).sort()
        assert.deepEqual(files, [...names, 'sweep.json'])
        const { data } = await sharp(path.join(cells, `cell-${index}.png`))
          .raw()
          .toBuffer({ resolveWithObject: true })
        assert.deepEqual(new Uint8Array(data), mix.data)
      }
    })

    it('goes on where it was broken off, computing the rest alone', async () => {
      const cells = await half()
      const sweep = mixer.sweep({ ...request, cells })
      let calls = 0
      const made: SweepCell[] = []
      const before = new Set([0, 2, 3])
      let events: SweepProgressEvent | undefined
      const again = mixer.sweep({ ...request, cells, onProgress: (event) => void (events = event) })
      for await (const cell of again) {
        made.push(cell)
        if (!before.has(cell.index)) calls += callsOf(cell.mix)
      }
      assert.equal(events!.unetCalls.all, calls)
      assert.equal(events!.unetCalls.done, calls)
      assert.ok(calls < sweep.plan.unetCalls)
      await assertAsSingle(made)
      // Now all of it is there.
      let told = 0
      const third = await all(mixer.sweep({ ...request, cells, onProgress: () => told++ }))
      assert.equal(told, 0)
      assert.deepEqual(
        third.map(({ mix }) => [mix.data, mix.unetCalls, mix.request]),
        made.map(({ mix }) => [mix.data, mix.unetCalls, mix.request]),
      )
    })

    it('goes on with the seed that it has drawn', async () => {
      const { seed, ...rest } = request
      const cells = await fresh()
      let drawn = -1
      for await (const { mix } of mixer.sweep({ ...rest, cells })) {
        drawn = mix.seed
        break
      }
      const made = await all(mixer.sweep({ ...rest, cells }))
      assert.deepEqual(new Set(made.map(({ mix }) => mix.seed)), new Set([drawn]))
      await assertAsSingle(made)
    })

    it('makes again what is gone or was changed', async () => {
      const cells = await half()
      await rm(path.join(cells, 'cell-0.png'))
      await copyFile(picture.layout, path.join(cells, 'cell-2.png'))
      await writeFile(path.join(cells, 'cell-3.png'), 'no picture')
      await assertAsSingle(await all(mixer.sweep({ ...request, cells })))
      const own = await sharp(path.join(cells, 'cell-2.png')).raw().toBuffer()
      const { data } = await single.mix({ ...ten, kMin: 0.5, nu: 0.3 })
      assert.deepEqual(new Uint8Array(own), data)
    })

    const others: [what: string, change: Partial<SweepRequest>, message: RegExp][] = [
      ['another option', { kMax: 0.7 }, /cells but received .*is of another sweep: kMax differs/],
      ['other values', { vary: { ...request.vary, nu: [0.3, 0.8] } }, /: vary\.nu differs/],
      ['another layout', { layout: fixture('landscape256.png') }, /: layout differs/],
      ['another seed', { seed: 9 }, /: seed differs/],
      ['other axes', { vary: { kMin: [0.1, 0.3] } }, /: vary\.kMin, vary\.nu differ/],
    ]
    for (const [what, change, message] of others) {
      it(`refuses that of ${what} by name, and leaves it as it is`, async () => {
        const cells = await half()
        const before = await readFile(path.join(cells, 'sweep.json'), 'utf8')
        const sweep = mixer.sweep({ ...request, ...change, cells })
        await assert.rejects(all(sweep), coded('INVALID_ARGUMENT', message))
        await assert.rejects(all(sweep), (error: MagicMixError) => error.message.includes(cells))
        assert.equal(sweep.finished.length, 0)
        assert.equal(await readFile(path.join(cells, 'sweep.json'), 'utf8'), before)
      })
    }

    it('refuses that of another picture under the same name, and of another model', async () => {
      const layout = path.join(folder, 'same-name.png')
      await copyFile(picture.layout, layout)
      const cells = await half({ layout })
      await copyFile(fixture('landscape256.png'), layout)
      const other = coded(
        'INVALID_ARGUMENT',
        /another sweep: the picture of layout or of a map differs/,
      )
      await assert.rejects(all(mixer.sweep({ ...request, layout, cells })), other)

      await copyFile(picture.layout, layout)
      await using precise = await MagicMix.load({ ...(await tinyOptions()), precision: 'f16' })
      const model = coded('INVALID_ARGUMENT', /another sweep: the model's precision differs/)
      await assert.rejects(all(precise.sweep({ ...request, layout, cells })), model)
    })

    it('refuses what is no index, and a folder that cannot be', async () => {
      const cells = await fresh()
      await mkdir(cells)
      for (const text of ['', '[]', '{"format":1}', '{"format":2,"cells":[]}', 'x'.repeat(1000)]) {
        await writeFile(path.join(cells, 'sweep.json'), text)
        const message = /cells but received .*sweep\.json is not that of a sweep/
        await assert.rejects(
          all(mixer.sweep({ ...request, cells })),
          coded('INVALID_ARGUMENT', message),
        )
      }
      const file = mixer.sweep({ ...request, cells: picture.layout })
      await assert.rejects(all(file), { code: 'FILE_UNWRITABLE' })
    })

    it('does not lose a cell that could not be written', async () => {
      const cells = await fresh()
      const sweep = mixer.sweep({ ...request, cells })
      for await (const { index } of sweep) if (index === 2) break
      await rm(cells, { recursive: true })
      await assert.rejects(all(sweep), { code: 'FILE_UNWRITABLE' })
      const [first] = sweep.finished.slice(-1)
      await mkdir(cells)
      const made = await all(sweep)
      assert.ok(made.includes(first!))
      assert.equal(sum(made.map(({ mix }) => callsOf(mix))), sweep.plan.unetCalls)
    })
  })

  const processOf = (isolated: MagicMix) =>
    (nativeOf(isolated) as unknown as { own: { child: { end(): Promise<void> } } }).own.child

  it('is that of an isolated mixer, also when its process dies', async () => {
    if (process.platform === 'win32') return
    await using there = await MagicMix.load({ ...(await tinyOptions()), isolate: true })
    const request = { ...ten, vary: { kMin: [0.1, 0.3, 0.5], nu: [0.3, 0.9] } }
    const sweep = there.sweep(request)
    assert.deepEqual(sweep.plan, mixer.sweep(request).plan)
    const cells = await all(sweep)
    assert.equal(sum(cells.map(({ mix }) => callsOf(mix))), sweep.plan.unetCalls)
    await assertAsSingle(cells)

    const second = there.sweep(request)
    const made: SweepCell[] = []
    for await (const cell of second) {
      made.push(cell)
      if (made.length === 2) await processOf(there).end()
    }
    await assertAsSingle(made)
  })

  describe('refuses', () => {
    const vary = { nu: [0.3, 0.6] }
    const refused: [what: string, request: unknown, code: string, message: RegExp][] = [
      ['nothing', undefined, 'INVALID_ARGUMENT', /an object for the request/],
      ['no vary', ten, 'INVALID_ARGUMENT', /an object for vary but received undefined/],
      ['a slip', { ...ten, varry: vary }, 'UNKNOWN_OPTION', /sweep has no option 'varry'.*'vary'/],
      [
        'an option of mix that is wrong',
        { ...ten, nu: 2, vary: { kMax: [0.5] } },
        'INVALID_ARGUMENT',
        /between 0 and 1 for nu but received 2$/,
      ],
      [
        'an option of mix that is missing',
        { ...ten, content: undefined, vary },
        'INVALID_ARGUMENT',
        /a string for content but received undefined$/,
      ],
      [
        'no axis',
        { ...ten, vary: {} },
        'INVALID_ARGUMENT',
        /one, two or three options .* for vary/,
      ],
      [
        'four axes',
        { ...ten, vary: { nu: [1], kMin: [0], kMax: [1], seed: [1] } },
        'INVALID_ARGUMENT',
        /one, two or three options/,
      ],
      [
        'an unknown axis',
        { ...ten, vary: { kmax: [1] } },
        'UNKNOWN_OPTION',
        /vary has no option 'kmax'; did you mean 'kMax'/,
      ],
      [
        'an axis that changes no picture',
        { ...ten, vary: { trace: [true] } },
        'UNKNOWN_OPTION',
        /vary has no option 'trace'/,
      ],
      [
        'no values',
        { ...ten, vary: { nu: [] } },
        'INVALID_ARGUMENT',
        /a list of values.* for vary\.nu but received an array of 0/,
      ],
      [
        'one value',
        { ...ten, vary: { nu: 0.3 } },
        'INVALID_ARGUMENT',
        /for vary\.nu but received 0\.3/,
      ],
      [
        'a wrong value',
        { ...ten, vary: { nu: [0.3, 2] } },
        'INVALID_ARGUMENT',
        /between 0 and 1 for vary\.nu\[1\] but received 2$/,
      ],
      [
        'another kind of value',
        { ...ten, vary: { content: ['a', 1] } },
        'INVALID_ARGUMENT',
        /a string for vary\.content\[1\]/,
      ],
      [
        'a value twice',
        { ...ten, vary: { nu: [0.3, 0.6, 0.3] } },
        'INVALID_ARGUMENT',
        /another value than vary\.nu\[0\] has for vary\.nu\[2\]/,
      ],
      [
        'a scale twice',
        { ...ten, vary: { attention: [{ corgi: 1 }, { corgi: 1 }] } },
        'INVALID_ARGUMENT',
        /vary\.attention\[1\]/,
      ],
      [
        'a range of texts',
        { ...ten, vary: { content: { from: 'a', to: 'b' } } },
        'INVALID_ARGUMENT',
        /a list of values for vary\.content/,
      ],
      [
        'a range without a step',
        { ...ten, vary: { nu: { from: 0, to: 1 } } },
        'INVALID_ARGUMENT',
        /either a step or a count/,
      ],
      [
        'a range with both',
        { ...ten, vary: { nu: { from: 0, to: 1, step: 0.1, count: 3 } } },
        'INVALID_ARGUMENT',
        /either a step or a count/,
      ],
      [
        'a range without steps',
        { ...ten, vary: { nu: { from: 0, to: 1, step: 0 } } },
        'INVALID_ARGUMENT',
        /above 0 for vary\.nu\.step/,
      ],
      [
        'a range of too many',
        { ...ten, vary: { nu: { from: 0, to: 1, step: 1e-9 } } },
        'INVALID_ARGUMENT',
        /at most 1024 values for vary\.nu\.step/,
      ],
      [
        'a range to nowhere',
        { ...ten, vary: { nu: { from: 0, to: Infinity, step: 1 } } },
        'INVALID_ARGUMENT',
        /a number for vary\.nu\.to/,
      ],
      [
        'a range with a slip',
        { ...ten, vary: { nu: { from: 0, to: 1, stop: 1 } } },
        'UNKNOWN_OPTION',
        /vary\.nu has no option 'stop'.*'step'/,
      ],
      [
        'parts of integers',
        { ...ten, vary: { steps: { from: 1, to: 2, step: 0.5 } } },
        'INVALID_ARGUMENT',
        /an integer .* for vary\.steps\[1\] but received 1\.5/,
      ],
      [
        'too many cells',
        {
          ...ten,
          vary: { seed: { from: 1, to: 100, step: 1 }, nu: { from: 0, to: 1, count: 50 } },
        },
        'INVALID_ARGUMENT',
        /at most 1024 cells for vary but 100 x 50 values make 5000/,
      ],
      [
        'a cell that cannot be',
        { ...ten, vary: { kMin: [0.1, 0.8] } },
        'INVALID_ARGUMENT',
        /at most kMax \(0\.6\) for kMin but received 0\.8 \(in the cell kMin 0\.8\)/,
      ],
      [
        'a cell without a step',
        { ...ten, kMin: 0, vary: { kMax: [0.6, 0.05] } },
        'INVALID_ARGUMENT',
        /\(in the cell kMax 0\.05\)/,
      ],
      [
        'a phrase that a cell has not',
        { ...ten, attention: { corgi: 1 }, vary: { content: ['a corgi', 'a cat'] } },
        'PHRASE_NOT_FOUND',
        /\(in the cell a cat\)/,
      ],
      [
        'an option of another sampler',
        { ...ten, vary: { sampler: ['ddim', 'lcm'], spacing: ['leading'] } },
        'INVALID_ARGUMENT',
        /\(in the cell sampler lcm, spacing leading\)/,
      ],
      [
        'a decoder that the model has not',
        { ...ten, vary: { decoder: ['full', 'tiny'] } },
        'INVALID_ARGUMENT',
        /tiny decoder.*\(in the cell decoder tiny\)/s,
      ],
      [
        'more blocks than there are',
        { ...ten, vary: { cache: [{ blocks: 99 }] } },
        'INVALID_ARGUMENT',
        /at most 12.*\(in the cell cache/,
      ],
      [
        'a folder that is none',
        { ...ten, vary, cells: 7 },
        'INVALID_ARGUMENT',
        /a folder for cells/,
      ],
      [
        'states in a folder',
        { ...ten, vary, cells: 'x', trace: true },
        'INVALID_ARGUMENT',
        /false .* for trace/,
      ],
      [
        'no listener',
        { ...ten, vary, onProgress: 1 },
        'INVALID_ARGUMENT',
        /a function for onProgress/,
      ],
      [
        'a batch that is none',
        { ...ten, vary: { seed: [1, 2] }, batch: 0 },
        'INVALID_ARGUMENT',
        /1 .* 16 for batch but received 0/,
      ],
      [
        'a batch without seeds',
        { ...ten, vary, batch: 2 },
        'INVALID_ARGUMENT',
        /1, as no seeds are varied, for batch but received 2/,
      ],
      [
        'a batch with states',
        { ...ten, vary: { seed: [1, 2] }, batch: 2, trace: true },
        'INVALID_ARGUMENT',
        /1 with trace for batch/,
      ],
      [
        'a batch with previews',
        { ...ten, vary: { seed: [1, 2] }, batch: 2, previewEvery: 1 },
        'INVALID_ARGUMENT',
        /1 with previews for batch/,
      ],
      ['no signal', { ...ten, vary, signal: 1 }, 'INVALID_ARGUMENT', /AbortSignal for signal/],
    ]
    for (const [what, request, code, message] of refused) {
      it(`${what}, before anything is computed`, () => {
        assert.throws(() => mixer.sweep(request as SweepRequest), coded(code, message))
      })
    }
  })
})
