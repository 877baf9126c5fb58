/** Every method on one sheet. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import sharp from 'sharp'

import { MagicMix, readRecipe } from 'magicmix'
import type { CompareOptions, CompareRequest, SweepCell } from 'magicmix'

import { packageRoot } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'
import { fixture } from './support/package-root.js'

const request = {
  ...{ layout: { prompt: 'a loaf' }, content: 'a corgi', width: 64, height: 64, steps: 4, seed: 2 },
}

describe('compare', function () {
  this.timeout(120_000)
  let mixer: MagicMix
  let folder: string
  before(async () => {
    mixer = await MagicMix.load(await tinyOptions())
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-compare-'))
  })
  after(async () => {
    await mixer.dispose()
    await rm(folder, { recursive: true })
  })

  async function all(of: CompareRequest, options?: CompareOptions): Promise<SweepCell[]> {
    const comparison = mixer.compare(of, options)
    for await (const cell of comparison) void cell
    return [...comparison.finished]
  }

  it('mixes by every method on one seed, as mixes by themselves', async () => {
    const { seed, ...unseeded } = request
    const cells = await all({ ...unseeded, kMin: 0.1, kMax: 0.5, nu: 0.7 })
    assert.deepEqual(
      cells.map(({ at }) => at.method),
      ['magicmix', 'interpolate', 'switch', 'alternate', 'split', 'swap'],
    )
    assert.equal(new Set(cells.map(({ mix }) => mix.seed)).size, 1)
    assert.equal(new Set(cells.map(({ mix }) => Buffer.from(mix.data).toString('hex'))).size, 6)
    for (const { mix } of cells) {
      assert.deepEqual((await mixer.mix(mix.request)).data, mix.data)
    }
    const { kMin, kMax, nu } = cells[0]!.mix.request
    assert.deepEqual([kMin, kMax, nu], [0.1, 0.5, 0.7])
  })

  it('draws a sheet, with a column for each', async () => {
    const methods = ['switch', { name: 'switch', at: 0.25 }, 'magicmix'] as const
    const comparison = mixer.compare(request, { methods })
    for await (const cell of comparison) void cell
    assert.deepEqual(comparison.axes, [{ option: 'method', values: methods }])
    const sheet = await comparison.sheet().toBuffer()
    const { width, height } = await sharp(sheet).metadata()
    assert.ok(width >= 3 * 64 && height >= 64 && height < 3 * 64, `${width} x ${height}`)
  })

  it('writes cells to a folder and goes on from it', async () => {
    const cells = path.join(folder, 'cells')
    const first = await all({ ...request, cells })
    const names = (await readdir(cells)).sort()
    assert.deepEqual(names, [...first.map(({ index }) => `cell-${index}.png`), 'sweep.json'])
    const { request: kept } = await readRecipe(path.join(cells, 'cell-5.png'))
    assert.deepEqual(kept.method, { name: 'swap', columns: 0.5, draw: 0 })
    const again = await all({ ...request, cells })
    assert.deepEqual(
      again.map(({ mix }) => mix.data),
      first.map(({ mix }) => mix.data),
    )
  })

  describe('refuses', () => {
    const rows: [request: object, options: unknown, message: RegExp, code?: string][] = [
      [
        { ...request, layout: fixture('landscape64.png') },
        {},
        /a prompt.*for layout.*in the cell interpolate/,
      ],
      [{ ...request, method: 'swap' }, {}, /compare has no option 'method'/, 'UNKNOWN_OPTION'],
      [{ ...request, vary: { nu: [1] } }, {}, /compare has no option 'vary'/, 'UNKNOWN_OPTION'],
      [request, { method: 'swap' }, /did you mean 'methods'/, 'UNKNOWN_OPTION'],
      [request, { methods: [] }, /a list of methods for methods/],
      [request, { methods: 'swap' }, /a list of methods/],
      [request, { methods: ['blend'] }, /one of 'magicmix'/],
      [request, { methods: ['switch', { name: 'switch' }] }, /another value/],
      [request, { methods: ['switch', 'switch'] }, /another value/],
      [
        { ...request, nu: 0.5 },
        { methods: ['switch', 'split'] },
        /only 'magicmix' has it\) for nu/,
      ],
      [{ ...request, nu: 2 }, {}, /nu/],
      [{ ...request, content: undefined }, {}, /content/],
    ]
    for (const [given, options, message, code = 'INVALID_ARGUMENT'] of rows) {
      it(String(message), () => {
        assert.throws(
          () => mixer.compare(given as CompareRequest, options as CompareOptions),
          coded(code, message),
        )
      })
    }
  })

  describe('on the command line', () => {
    const run = async (...args: string[]) =>
      promisify(execFile)(process.execPath, [
        path.join(packageRoot, 'dist', 'cli', 'main.js'),
        ...args,
      ])
    const ofBox = [
      '--steps',
      '2',
      '--seed',
      '1',
      '--threads',
      '1',
      '--width',
      '64',
      '--height',
      '64',
    ]

    it('writes a sheet, and every picture', async () => {
      const [sheet, cells] = [path.join(folder, 'sheet.png'), path.join(folder, 'of-cli')]
      const { stdout, stderr } = await run(
        ...[
          'compare',
          'a heart',
          'a tiger',
          '--methods',
          'magicmix,switch:0.4,swap:0.5:7',
          '--nu',
          '0.6',
        ],
        ...[...ofBox, '-o', sheet, '--cells', cells],
      )
      assert.match(stdout, /Wrote .*sheet\.png and the pictures in .*of-cli \(3 pictures, seed 1/)
      assert.match(stderr, /3 pictures in \d+ calls/)
      assert.ok((await readFile(sheet)).length > 0)
      const { request: kept } = await readRecipe(path.join(cells, 'cell-2.png'))
      assert.deepEqual(kept.method, { name: 'swap', columns: 0.5, draw: 7 })
    })

    it('mix, sweep and replay take a method', async () => {
      const [one, two] = [path.join(folder, 'one.png'), path.join(folder, 'two.png')]
      const prompts = ['--layout-prompt', 'a heart', 'a tiger']
      await run('mix', ...prompts, '--method', 'alternate:3', ...ofBox, '-o', one)
      const { request: kept } = await readRecipe(one)
      assert.deepEqual(kept.method, { name: 'alternate', every: 3 })
      await run('replay', one, '--threads', '1', '-o', two)
      assert.deepEqual(await sharp(two).raw().toBuffer(), await sharp(one).raw().toBuffer())
      // Another method has numbers of its own: none of the recipe's.
      await run('replay', one, '--threads', '1', '--method', 'magicmix', '-o', two)
      const { method, kMin, kMax, nu } = (await readRecipe(two)).request
      assert.deepEqual([method, kMin, kMax, nu], ['magicmix', 0.3, 0.6, 0.9])
      await run('replay', two, '--threads', '1', '--method', 'split', '-o', one)
      assert.equal((await readRecipe(one)).request.method, 'split')
      const edited = [
        'mix',
        'a [heart|tiger]',
        '--layout-prompt',
        'a heart',
        '--prompt-syntax',
        'a1111',
      ]
      await run(...edited, ...ofBox, '-o', two)
      assert.equal((await readRecipe(two)).request.promptSyntax, 'a1111')
      const sheet = path.join(folder, 'sweep.png')
      const { stdout } = await run(
        ...['sweep', ...prompts, '--vary', 'method=magicmix,switch:0.4', ...ofBox, '-o', sheet],
      )
      assert.match(stdout, /2 pictures/)
    })

    it('says what is wrong', async () => {
      const refused = (args: string[], message: RegExp) =>
        assert.rejects(run(...args), ({ code, stderr }: { code: number; stderr: string }) => {
          assert.match(stderr, message)
          assert.equal(code, 2)
          return true
        })
      const prompts = ['a heart', 'a tiger']
      await refused(['compare', 'a heart'], /the prompts LAYOUT and CONTENT but received 1/)
      await refused(
        ['compare', ...prompts, '--methods', 'switch:x'],
        /NAME or NAME:NUMBER.*'switch:x'/,
      )
      await refused(['compare', ...prompts, '--methods', 'blend'], /one of 'magicmix'/)
      await refused(['compare', ...prompts, '--methods', 'split:1'], /NAME or NAME:NUMBER/)
      await refused(['compare', ...prompts, '--method', 'swap'], /method/)
      await refused(
        ['mix', fixture('landscape64.png'), 'a', '--method', 'switch'],
        /a prompt, as \{ prompt/,
      )
    })
  })
})
