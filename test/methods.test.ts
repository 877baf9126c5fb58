/** Methods beside MagicMix: two prompts in one run, against PyTorch, against single prompts, and in sweeps. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { MagicMix, readRecipe, recipe } from 'magicmix'
import type { Method, Mix, MixRequest, SweepCell, SweepRequest } from 'magicmix'

import { assertClose } from './support/closeness.js'
import { tinyDiffusers, tinyXlHeads, tinyXlModel } from './support/models.js'
import type { NativeMixRequest } from '../dist/native/contract.js'
import { idsOf, native, nativeOf } from './support/native.js'
import { fixture } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'
import { readSafetensors, tensorValues } from './support/safetensors.js'

const [loaf, corgi] = ['a loaf of bread', 'a photo of a corgi']
const size = { width: 64, height: 64 }
const two = { layout: { prompt: loaf }, content: corgi, ...size, steps: 6, seed: 5 }
/** The run of one prompt. */
const alone = (content: string): MixRequest => ({ ...two, content, kMin: 1, kMax: 1 })

describe('methods', function () {
  this.timeout(120_000)
  let mixer: MagicMix
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
  })
  after(() => mixer.dispose())

  const bytes = async (request: MixRequest, by = mixer) => Buffer.from((await by.mix(request)).data)
  const by = (method: Method, more: Partial<MixRequest> = {}) => bytes({ ...two, method, ...more })

  it('make the states that PyTorch makes, every one of a run', async () => {
    const cases = JSON.parse(readFileSync(fixture('blending.json'), 'utf8')) as {
      id: string
      request: MixRequest
      errors: number[]
    }[]
    const states = readSafetensors(fixture('blending.safetensors'))
    const plain = { device: 'cpu', precision: 'f32', threads: 1 } as const
    await using other = await MagicMix.load({ model: await tinyDiffusers(), ...plain })
    assert.equal(cases.length, 5)
    for (const { id, request, errors } of cases) {
      const { trace } = await other.mix({ ...request, trace: true })
      const all = Float32Array.from(tensorValues(states, id))
      const length = all.length / trace.length
      assert.equal(trace.length, errors.length)
      trace.forEach(({ index, latent }) => {
        const right = all.slice(index * length, (index + 1) * length)
        assertClose(`${id}, state ${index}`, latent, right, 1e-4)
      })
    }
  })

  describe('are a single prompt at their ends', () => {
    const ends: [at: (share: number) => Method, what: string][] = [
      [(weight) => ({ name: 'interpolate', weight }), 'interpolate'],
      [(at) => ({ name: 'switch', at }), 'switch'],
      [(columns) => ({ name: 'swap', columns }), 'swap'],
    ]
    for (const [at, what] of ends) {
      it(what, async () => {
        const [a, b] = [await bytes(alone(loaf)), await bytes(alone(corgi))]
        assert.deepEqual(await by(at(0)), a)
        assert.deepEqual(await by(at(1)), b)
        const half = await by(at(0.5))
        assert.notDeepEqual(half, a)
        assert.notDeepEqual(half, b)
        assert.deepEqual(await by(what as Method), half)
      })
    }

    it('every one, where both prompts are the same', async () => {
      const right = await bytes(alone(corgi))
      for (const method of ['interpolate', 'switch', 'alternate', 'split', 'swap'] as const) {
        assert.deepEqual(await by(method, { layout: { prompt: corgi } }), right, method)
      }
    })
  })

  it('differ from each other', async () => {
    const all: Method[] = ['magicmix', 'interpolate', 'switch', 'alternate', 'split', 'swap']
    const pictures = await Promise.all(
      all.map(async (method) => (await by(method)).toString('hex')),
    )
    assert.equal(new Set(pictures).size, all.length)
  })

  it('call the UNet once a step, as check says', async () => {
    const plan = await mixer.check({ ...two, method: 'split' })
    assert.deepEqual(plan.steps, { layout: 0, content: 6, score: 0 })
    const { unetCalls, layoutTrace } = await mixer.mix({ ...two, method: 'split', trace: true })
    assert.equal(unetCalls.full, 6)
    assert.deepEqual(
      layoutTrace.map(({ index }) => index),
      [0],
    )
  })

  it('switch is MagicMix with kMin = kMax, but for what dpm++2m remembers', async () => {
    const request = { ...two, steps: 10 }
    for (const sampler of ['ddim', 'euler_a', 'dpm++2m', 'lcm'] as const) {
      const mixed = await bytes({ ...request, sampler, kMin: 0.6, kMax: 0.6 })
      const switched = await bytes({ ...request, sampler, method: { name: 'switch', at: 0.6 } })
      if (sampler === 'dpm++2m') assert.notDeepEqual(switched, mixed)
      else assert.deepEqual(switched, mixed, sampler)
    }
  })

  it('interpolate is the option of that name, with the content as the other prompt', async () => {
    const option = { prompt: corgi, weight: 0.3 }
    assert.deepEqual(
      await by({ name: 'interpolate', weight: 0.3 }),
      await bytes({ ...alone(loaf), interpolate: option }),
    )
  })

  it('alternate has the layout in the first step and in every n-th', async () => {
    const steps = async (every: number) =>
      (await mixer.mix({ ...two, method: { name: 'alternate', every }, trace: true })).trace
    const [third, fourth] = [await steps(3), await steps(4)]
    // Steps 0, 3 and 0, 4: the states behind step 3 are the first that differ.
    assert.deepEqual(third.slice(0, 4), fourth.slice(0, 4))
    assert.notDeepEqual(third[4], fourth[4])
    // One that is longer than the run has one step of the layout.
    const first = (await steps(999))[1]
    const switched = await mixer.mix({ ...two, method: { name: 'switch', at: 5 / 6 }, trace: true })
    assert.deepEqual(first, switched.trace[1])
    assert.deepEqual((await steps(999)).at(-1), switched.trace.at(-1))
  })

  it('swap takes the columns with the smallest numbers that PyTorch draws', async () => {
    await swapsColumns(mixer)
    const again = await by({ name: 'swap', columns: 0.5, draw: 0 })
    assert.deepEqual(await by('swap'), again)
    assert.notDeepEqual(await by({ name: 'swap', draw: 1 }), again)
  })

  /** One step of DDIM from what the parts of the engine give. */
  async function swapsColumns(of: MagicMix): Promise<void> {
    const engine = nativeOf(of)
    const [a, b] = [
      await engine.encodeText(idsOf(of, loaf)).done,
      await engine.encodeText(idsOf(of, corgi)).done,
    ]
    const [width, pooledWidth] = [a.states.length / 77, a.pooled.length]
    assert.notEqual(width, pooledWidth)
    const drawn = native.randn(3, width + pooledWidth)
    const chosen = (numbers: Float32Array) => {
      const order = Array.from(numbers.keys()).sort((i, j) => numbers[i]! - numbers[j]!)
      return new Set(order.slice(0, Math.floor(0.25 * numbers.length + 0.5)))
    }
    const columns = chosen(drawn.slice(0, width))
    const states = a.states.map((value, k) => (columns.has(k % width) ? b.states[k]! : value))
    const ofPooled = chosen(drawn.slice(width))
    const pooled = a.pooled.map((value, k) => (ofPooled.has(k) ? b.pooled[k]! : value))
    const { trace } = await of.mix({
      ...{ ...two, method: { name: 'swap', columns: 0.25, draw: 3 }, guidanceScale: 1 },
      trace: true,
    })
    const [first, second] = trace
    const { epsilon } = await engine.predictNoise({
      ...{ latent: first!.latent, latentWidth: 8, latentHeight: 8, timestep: first!.timestep },
      ...{ states, pooled, attention: [], stages: false },
    }).done
    const { alphaBar, alphaBarNext } = native.schedule(two.steps, engine.schedule)
    const [from, to] = [alphaBar[0]!, alphaBarNext[0]!]
    const next = first!.latent.map((x, k) => {
      const clean = (x - Math.sqrt(1 - from) * epsilon[k]!) / Math.sqrt(from)
      return Math.sqrt(to) * clean + Math.sqrt(1 - to) * epsilon[k]!
    })
    assertClose('the first step', second!.latent, next, 1e-5)
  }

  describe('with Stable Diffusion XL', () => {
    let xl: MagicMix
    before(async () => {
      const plain = { precision: 'f32', device: 'cpu', threads: 1 } as const
      xl = await MagicMix.load({ model: await tinyXlModel(), config: tinyXlHeads, ...plain })
    })
    after(() => xl.dispose())

    it('swap exchanges columns of the pooled vector, too', () => swapsColumns(xl))

    it('are a single prompt where both are the same, or at their ends', async () => {
      const right = await bytes(alone(corgi), xl)
      for (const method of ['alternate', 'split', 'swap'] as const) {
        const same = { ...two, layout: { prompt: corgi }, method }
        assert.deepEqual(await bytes(same, xl), right, method)
      }
      assert.deepEqual(await bytes({ ...two, method: { name: 'swap', columns: 1 } }, xl), right)
      assert.deepEqual(await bytes({ ...two, method: { name: 'switch', at: 1 } }, xl), right)
    })
  })

  describe('go with other options', () => {
    const whole = ['split', 'switch', 'alternate'] as const
    it('a negative prompt, guidance for a part of the noise, few-step samplers', async () => {
      for (const method of ['split', 'alternate'] as const) {
        const usual = await by(method)
        for (const more of [
          { negativePrompt: 'rain' },
          { guidanceInterval: [0, 0.5] },
          { sampler: 'lcm' },
        ] as Partial<MixRequest>[]) {
          assert.notDeepEqual(await by(method, more), usual, `${method} ${JSON.stringify(more)}`)
        }
        assert.deepEqual(await by(method, { guidanceInterval: [0, 1] }), usual)
      }
    })

    it('scales of the content count where the content does', async () => {
      const attention = { corgi: -1 }
      for (const method of whole) {
        assert.notDeepEqual(await by(method, { attention }), await by(method), method)
      }
      const layoutOnly = { name: 'switch', at: 0 } as const
      assert.deepEqual(await by(layoutOnly, { attention }), await by(layoutOnly))
    })

    it('a cache refreshes with the prompt', async () => {
      const callsOf = async (method: Method) => {
        const { unetCalls } = await mixer.mix({ ...two, method, cache: { every: 3 } })
        return [unetCalls.full, unetCalls.cached]
      }
      assert.deepEqual(await callsOf('split'), [2, 4])
      assert.deepEqual(await callsOf({ name: 'switch', at: 2 / 6 }), [3, 3])
      assert.deepEqual(await callsOf('alternate'), [6, 0])
      const right = await bytes({ ...alone(corgi), cache: { every: 3 } })
      const same = { layout: { prompt: corgi }, cache: { every: 3 } }
      assert.deepEqual(await by('split', same), right)
    })
  })

  describe('share states in sweeps', () => {
    const callsOf = ({ unetCalls: { full, cached } }: Mix) => full + cached
    const sum = (numbers: number[]) => numbers.reduce((all, each) => all + each, 0)
    const ten = { ...two, steps: 10 }
    const at = (share: number): Method => ({ name: 'switch', at: share })
    const rows: [what: string, request: SweepRequest, calls: number, single: number][] = [
      // The content takes over at state 6, 4 or 2.
      [
        'where switch switches',
        { ...ten, vary: { method: [at(0.4), at(0.6), at(0.8)] } },
        6 + 4 + 6 + 8,
        30,
      ],
      [
        'by dpm++2m, which remembers',
        { ...ten, sampler: 'dpm++2m', vary: { method: [at(0.4), at(0.6)] } },
        6 + 4 + 6,
        20,
      ],
      // Steps 0, 2, ... and 0, 3, ...: state 2 is common.
      [
        'how often alternate alternates',
        {
          ...ten,
          vary: {
            method: [
              { name: 'alternate', every: 2 },
              { name: 'alternate', every: 3 },
            ],
          },
        },
        10 + 8,
        20,
      ],
      [
        'where a scale counts',
        { ...ten, method: at(0.3), vary: { attention: [{}, { corgi: 2 }] } },
        10 + 3,
        20,
      ],
      ['contents', { ...ten, method: at(0.3), vary: { content: [corgi, 'a hill'] } }, 10 + 3, 20],
      // A layout's run of 6, and 6 of the content; both of the others have the layout's prompt in step 0.
      [
        'methods',
        { ...ten, vary: { method: ['magicmix', 'switch', 'alternate'] } },
        6 + 6 + 10 + 9,
        32,
      ],
      [
        'with a cache',
        { ...ten, cache: { every: 2 }, vary: { method: [at(0.4), at(0.6)] } },
        10 + 6,
        20,
      ],
    ]
    for (const [what, request, calls, single] of rows) {
      it(what, async () => {
        const sweep = mixer.sweep(request)
        const { cells, ...plan } = sweep.plan
        assert.deepEqual(plan, { unetCalls: calls, unetCallsOfSingleMixes: single })
        const made: SweepCell[] = []
        for await (const cell of sweep) made.push(cell)
        assert.equal(made.length, cells)
        assert.equal(sum(made.map(({ mix }) => callsOf(mix))), calls)
        for (const { mix, at: point } of made) {
          assert.deepEqual(Buffer.from(mix.data), await bytes(mix.request), JSON.stringify(point))
        }
      })
    }
  })

  describe('are in requests and recipes', () => {
    it('filled in, and can be mixed again', async () => {
      const mix = await mixer.mix({ ...two, method: 'swap' })
      const { method, kMin, kMax, nu } = mix.request
      assert.deepEqual(method, { name: 'swap', columns: 0.5, draw: 0 })
      assert.deepEqual([kMin, kMax, nu], [1, 1, 1])
      assert.deepEqual(await bytes(mix.request), Buffer.from(mix.data))
      assert.equal(recipe({ ...two }).method, 'magicmix')
    })

    it('carried by files', async () => {
      for (const method of ['split', { name: 'alternate', every: 3 }] as const) {
        const mix = await mixer.mix({ ...two, method })
        const file = await mix.toBuffer({ format: 'png', recipe: true })
        const { request } = await readRecipe(file)
        assert.deepEqual(request.method, method)
        assert.deepEqual(await bytes(request), Buffer.from(mix.data))
        assert.match(file.toString('latin1'), /MagicMix method: (split|alternate every 3)[,\0]?/)
      }
    })
  })

  describe('refuse', () => {
    const picture = fixture('landscape64.png')
    const rows: [request: Record<string, unknown>, message: RegExp, code?: string][] = [
      [{ method: 'blend' }, /one of 'magicmix', .*'swap' for method/],
      [{ method: 7 }, /for method but received 7/],
      [{ method: null }, /for method/],
      [{ method: { at: 0.5 } }, /for method\.name/],
      [{ method: { name: 'switch', at: 1.5 } }, /between 0 and 1 for method\.at/],
      [{ method: { name: 'switch', at: '0.5' } }, /method\.at/],
      [{ method: { name: 'alternate', every: 1 } }, /between 2 and 999 for method\.every/],
      [{ method: { name: 'alternate', every: 2.5 } }, /method\.every/],
      [{ method: { name: 'interpolate', weight: -1 } }, /method\.weight/],
      [{ method: { name: 'swap', columns: NaN } }, /method\.columns/],
      [{ method: { name: 'swap', draw: -1 } }, /method\.draw/],
      [{ method: { name: 'switch', every: 2 } }, /no option 'every'.*it has at/, 'UNKNOWN_OPTION'],
      [{ method: { name: 'split', at: 2 } }, /no options, and none 'at'/, 'UNKNOWN_OPTION'],
      [
        { method: 'switch', layout: picture },
        /a prompt.*'switch'.*'magicmix' is the method.* for layout/,
      ],
      [
        { method: 'switch', kMin: 0.3 },
        /nothing \(the method is 'switch'.*for kMin but received 0.3/,
      ],
      [{ method: 'swap', kMax: 0.6 }, /only 'magicmix' has it\) for kMax/],
      [{ method: 'split', nu: 0.9 }, /only 'magicmix' has it\) for nu/],
      [{ method: 'split', nu: [0.9] }, /only 'magicmix' has it\) for nu/],
      [{ method: 'swap', nuMap: picture }, /only 'magicmix' has it\) for nuMap/],
      [{ method: 'swap', kMaxMap: picture }, /only 'magicmix' has it\) for kMaxMap/],
      [
        { method: 'swap', content: undefined, contents: [{ prompt: 'a' }, { prompt: 'b' }] },
        /mixes two prompts\) for contents/,
      ],
      [{ method: 'alternate', interpolate: { prompt: 'rain', weight: 0.5 } }, /for interpolate/],
    ]
    for (const [request, message, code = 'INVALID_ARGUMENT'] of rows) {
      it(JSON.stringify(request), async () => {
        const given = { ...two, ...request } as MixRequest
        await assert.rejects(mixer.mix(given), coded(code, message))
        await assert.rejects(mixer.check(given), coded(code, message))
        assert.throws(() => recipe(given), coded(code, message))
      })
    }

    it('what only the engine is asked', async () => {
      const direct = (more: object) => {
        const engine = nativeOf(mixer)
        const tokens = idsOf(mixer, corgi)
        const whole = { ...recipe({ ...two, method: 'split' }), ...more }
        return engine.mix(
          {
            ...(whole as unknown as NativeMixRequest),
            ...{ layout: { tokens }, negativePrompt: tokens, nu: new Float64Array() },
            contents: [{ tokens, edit: null, attention: [], weight: 1 }],
            ...{
              guidanceFrom: 0,
              guidanceTo: 1,
              cacheEvery: 1,
              cacheWhileMixing: 1,
              cacheBlocks: 1,
            },
            ...{ spacing: '', methodShare: 0.5, methodEvery: 2, methodDraw: 0, loras: null },
            ...more,
          },
          null,
        ).done
      }
      const refused = (more: object, message: RegExp) => assert.rejects(direct(more), message)
      await refused({ method: 'blend' }, /no method 'blend'/)
      await refused({ method: 'split', kMin: 0.5 }, /kMin must be 1/)
      await refused({ method: 'alternate', methodEvery: 1 }, /methodEvery/)
      const texts = idsOf(mixer, corgi)
      const edit = (ofStep: number[]) => ({
        method: 'magicmix',
        contents: [
          {
            tokens: texts,
            edit: { texts, ofStep: Int32Array.from(ofStep) },
            attention: [],
            weight: 1,
          },
        ],
      })
      await refused(edit([0, 0]), /content\.edit\.ofStep must have 6 values/)
      await refused(edit([0, 0, 0, 0, 0, 1]), /content\.edit\.ofStep must be the number of a text/)
    })
  })
})
