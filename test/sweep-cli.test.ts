/** `magicmix sweep`. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'

import { command } from '../dist/cli/sweep.js'
import { readArguments } from '../dist/cli/command.js'
import { varyFrom } from '../dist/cli/vary.js'
import { tinyModel } from './support/models.js'
import { packageRoot } from './support/package-root.js'

describe('magicmix sweep', function () {
  this.timeout(120_000)
  const bin = path.join(packageRoot, 'dist', 'cli', 'main.js')
  let folder: string
  let model: string[]
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-sweep-cli-'))
    model = ['-m', await tinyModel(), '--unet-heads', '4', '--text-heads', '2', '--threads', '1']
    await sharp({ create: { width: 40, height: 40, channels: 3, background: 'teal' } })
      .png()
      .toFile(path.join(folder, 'layout.png'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  function magicmix(args: string[], onStderr: (text: string, stop: () => void) => void = () => {}) {
    const child = spawn(process.execPath, [bin, 'sweep', ...args], { cwd: folder })
    const outcome = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      outcome.stderr += text
      onStderr(text, () => child.kill('SIGINT'))
    })
    return new Promise<typeof outcome & { code: number | null }>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => resolve({ code, ...outcome }))
    })
  }
  const small = ['--width', '64', '--height', '64', '--steps', '4', '--seed', '7']
  const axes = ['--vary', 'nu=0.3,0.6,0.9', '--vary', 'k-min=0:0.5:0.25']

  it('draws a sheet, says what it costs, and goes on from a folder', async () => {
    const args = [
      'layout.png',
      'a cat',
      ...small,
      ...axes,
      '-o',
      'out/sheet.webp',
      '--cells',
      'cells',
    ]
    const first = await magicmix([...args, ...model])
    assert.equal(first.code, 0, first.stderr)
    assert.match(
      first.stdout,
      /^Wrote out\/sheet\.webp and the pictures in cells \(9 pictures, seed 7, /,
    )
    assert.match(first.stderr, /^9 pictures in \d+ calls of the network instead of 18 one by one$/m)
    assert.match(first.stderr, /^mixing \d+\/\d+/m)
    const sheet = await sharp(path.join(folder, 'out', 'sheet.webp')).metadata()
    assert.ok(sheet.format === 'webp' && sheet.width > 3 * 64 && sheet.height > 3 * 64)
    assert.equal((await readdir(path.join(folder, 'cells'))).length, 10)

    const again = await magicmix([...args, ...model, '--json'])
    assert.equal(again.code, 0, again.stderr)
    assert.doesNotMatch(again.stderr, /mixing/)
    const { plan, cells } = JSON.parse(again.stdout) as {
      plan: object
      cells: { index: number; at: object; seed: number; request: { nu: number } }[]
    }
    assert.equal(cells.length, 9)
    assert.deepEqual(cells[5]!.at, { nu: 0.9, kMin: 0.25 })
    assert.equal(cells[5]!.request.nu, 0.9)
    assert.deepEqual(Object.keys(plan), ['cells', 'unetCalls', 'unetCallsOfSingleMixes'])

    // The model is not there, and not missed.
    const other = await magicmix([...args, '--k-max', '0.75', '-m', 'missing'])
    assert.equal(other.code, 2)
    assert.match(other.stderr, /received cells: its sweep\.json is of another sweep: kMax differs/)
  })

  it('says which cell is the best by its scores', async () => {
    const vary = ['--vary', 'nu=0.1,0.9', '-o', 'scored.png', ...model]
    const args = ['layout.png', 'a cat', ...small, ...vary]
    const { code, stdout, stderr } = await magicmix([...args, '--score', '--balance', '0'])
    assert.equal(code, 0, stderr)
    const shares = /content 0\.\d\d, layout [01]\.\d\d/.source
    assert.match(stdout, new RegExp(`^Best by the scores: nu 0\\.1 \\(${shares}\\)$`, 'm'))

    const json = await magicmix([...args, '--score', '--json'])
    const { best, cells } = JSON.parse(json.stdout) as {
      best: number
      cells: { score: { content: number } }[]
    }
    assert.ok(cells[best]!.score.content > 0)
    const refused = await magicmix([...args, '--balance', '0'])
    assert.deepEqual([refused.code, /--balance needs --score/.test(refused.stderr)], [2, true])
    const wrong = await magicmix([...args, '--score', '--balance', '2'])
    assert.deepEqual([wrong.code, /balance/.test(wrong.stderr)], [2, true])
  })

  it('leaves a sheet of what is there when it is stopped', async () => {
    const many = ['--vary', 'seed=1:500:1', '--steps', '20', '-o', 'stopped.png', ...model]
    const size = ['--width', '64', '--height', '64']
    const stopped = await magicmix(['layout.png', 'a', ...size, ...many], (text, stop) => {
      if (/mixing [1-9]/.test(text)) stop()
    })
    assert.equal(stopped.code, 130, stopped.stderr)
    assert.match(stopped.stderr, /stopped\.png shows \d+ of 500 pictures\nStopped\.\n$/)
    assert.ok((await sharp(path.join(folder, 'stopped.png')).metadata()).width > 500 * 64 * 0.4)
  })

  it('takes layouts and contents as values', async () => {
    await writeFile(path.join(folder, 'other.png'), await sharp(path.join(folder, 'layout.png')).toBuffer()) // prettier-ignore
    const layouts = [
      '--vary',
      'layout=layout.png,other.png',
      '--vary',
      'content=a cat|a dog, or two',
    ]
    const { code, stdout, stderr } = await magicmix([...layouts, ...small, ...model, '--json'])
    assert.equal(code, 0, stderr)
    const { cells } = JSON.parse(stdout) as { cells: { at: object }[] }
    assert.deepEqual(cells[3]!.at, { layout: 'other.png', content: 'a dog, or two' })
  })

  it('computes several seeds together', async () => {
    const args = ['layout.png', 'a cat', '--vary', 'seed=1,2,3', ...small, ...model, '--json']
    const [together, single] = await Promise.all([
      magicmix([...args, '--batch', '3']),
      magicmix(args),
    ])
    assert.equal(together.code, 0, together.stderr)
    type Out = { plan: object; cells: { seed: number; timings: { steps: number[] } }[] }
    const [{ plan, cells }, other] = [together, single].map(({ stdout }) => JSON.parse(stdout) as Out) as [Out, Out] // prettier-ignore
    assert.deepEqual(plan, other.plan)
    assert.deepEqual(
      cells.map(({ seed }) => seed),
      [1, 2, 3],
    )
    // One call is one of all of them.
    assert.deepEqual(cells[0]!.timings.steps, cells[2]!.timings.steps)
    assert.notDeepEqual(other.cells[0]!.timings.steps, other.cells[2]!.timings.steps)
  })

  const wrong: [what: string, args: string[], message: RegExp][] = [
    ['nothing to vary', ['layout.png', 'a'], /at least one --vary/],
    ['no values', ['layout.png', 'a', '--vary', 'nu'], /NAME=VALUES for --vary but received 'nu'/],
    ['an unknown name', ['layout.png', 'a', '--vary', 'nuu=1'], /no option 'nuu'; did you mean 'nu'/],
    ['no number', ['layout.png', 'a', '--vary', 'nu=0.3,x'], /X\.\.Y.* for --nu but received 'x'/],
    ['half a range', ['layout.png', 'a', '--vary', 'nu=0:1'], /FROM:TO:STEP for --vary nu.*'0:1'/],
    ['a name twice', ['layout.png', 'a', '--vary', 'nu=0', '--vary', 'nu=1'], /nu is given twice/],
    ['no flag', ['layout.png', 'a', '--vary', 'truncate=1'], /true or false for --vary truncate/],
    ['a value out of range', ['layout.png', 'a', '--vary', 'nu=0,2'], /for vary\.nu\[1\] but received 2/],
    ['a missing content', ['layout.png', '--vary', 'nu=1'], /a LAYOUT picture and a CONTENT.*1 arg/],
    ['a content too much', ['layout.png', 'a', '--vary', 'content=a|b'], /a LAYOUT picture but.*2 arg/],
    ['a cell that cannot be', ['layout.png', 'a', '--vary', 'k-min=0.9'], /in the cell kMin 0\.9/],
    ['a phrase that is not there', ['layout.png', 'a', '--vary', 'attention=b=1|a=1'], /'b' is not in the/],
    ['a batch of no seeds', ['layout.png', 'a', '--vary', 'nu=0,1', '--batch', '2'], /1, as no seeds .* for batch/],
    ['no sheet', ['layout.png', 'a', '--vary', 'nu=1', '-o', 'a.bmp'], /\.png.*a\.bmp/],
  ] // prettier-ignore
  for (const [what, args, message] of wrong) {
    it(`refuses ${what} before it looks for a model`, async () => {
      const { code, stdout, stderr } = await magicmix([...args, '-m', 'missing'])
      assert.ok(code === 2 || (code === 1 && what.includes('phrase')), stderr)
      assert.equal(stdout, '')
      assert.match(stderr, message)
      assert.doesNotMatch(stderr, /MODEL_NOT_FOUND|^ +at /m)
    })
  }

  it('reads every kind of value', () => {
    const read = (args: string[], base = {}) => {
      const { values } = readArguments(
        command,
        args.flatMap((text) => ['--vary', text]),
      )
      return varyFrom(values.vary as string[], base)
    }
    assert.deepEqual(read(['nu=0.3, 0.6', 'kMax=0.5:0.8:0.1', 'seed=1']), {
      nu: [0.3, 0.6],
      kMax: { from: 0.5, to: 0.8, step: 0.1 },
      seed: [1],
    })
    assert.deepEqual(read(['attention=a cat=1|none', 'lora=none,x=0.5', 'sampler=ddim,lcm']), {
      attention: [[{ text: 'a cat', scale: 1 }], []],
      loras: [[], [{ file: 'x', strength: 0.5 }]],
      sampler: ['ddim', 'lcm'],
    })
    assert.deepEqual(read(['guidance-interval=0,1|0.2,0.8', 'truncate=true,false']), {
      guidanceInterval: [
        [0, 1],
        [0.2, 0.8],
      ],
      truncate: [true, false],
    })
    assert.deepEqual(
      read(['cache-every=2,4', 'layout-prompt=a hill|a lake'], { cache: { blocks: 2 } }),
      {
        cache: [
          { blocks: 2, every: 2 },
          { blocks: 2, every: 4 },
        ],
        layout: [{ prompt: 'a hill' }, { prompt: 'a lake' }],
      },
    )
  })
})
