import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'

import { readRecipe } from 'magicmix'

import { tinyModel } from './support/models.js'
import { packageRoot } from './support/package-root.js'

const bin = path.join(packageRoot, 'dist', 'cli', 'main.js')
const heads = ['--unet-heads', '4', '--text-heads', '2']
// More threads than free cores would wait for each other.
const oneThread = ['--threads', '1']
const small = ['--width', '32', '--height', '32', '--steps', '4', ...oneThread]

interface Outcome {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

describe('command line', () => {
  let folder: string
  let model: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-cli-'))
    model = await tinyModel()
    await sharp({ create: { width: 40, height: 30, channels: 3, background: 'teal' } })
      .png()
      .toFile(path.join(folder, 'layout.png'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** Runs `magicmix` in the folder; `onStderr` sees what it prints on the way. */
  function magicmix(
    args: string[],
    onStderr: (text: string, kill: () => void) => void = () => {},
    killSignal: NodeJS.Signals = 'SIGINT',
  ): Promise<Outcome> {
    const { MAGICMIX_MODEL, DEBUG, ...env } = process.env
    const child = spawn(process.execPath, [bin, ...args], { cwd: folder, env })
    const outcome = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      outcome.stderr += text
      onStderr(text, () => child.kill(killSignal))
    })
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve({ code, signal, ...outcome }))
    })
  }

  it('can be run as it is built', async () => {
    // npx makes it so once, and not again after a new build in the same place
    const { mode } = await stat(bin)
    assert.equal(mode & 0o111, 0o111)
  })

  it('prints its version', async () => {
    const { version } = JSON.parse(
      await readFile(path.join(packageRoot, 'package.json'), 'utf8'),
    ) as { version: string }
    assert.deepEqual(await magicmix(['--version']), {
      code: 0,
      signal: null,
      stdout: `${version}\n`,
      stderr: '',
    })
  })

  it('teaches with an example for each command', async () => {
    const overview = await magicmix(['--help'])
    assert.equal(overview.code, 0)
    for (const command of ['mix', 'sweep', 'demo', 'devices', 'inspect', 'pull']) {
      assert.match(overview.stdout, new RegExp(`^  ${command}`, 'm'))
      const { code, stdout, stderr } = await magicmix([command, '--help'])
      assert.deepEqual([code, stderr], [0, ''])
      assert.match(stdout, new RegExp(`Usage: magicmix ${command}`))
      assert.match(stdout, new RegExp(`Examples?:\\n[^]*  magicmix ${command}`))
    }
  })

  const wrong: [what: string, args: string[], message: RegExp][] = [
    ['no command', [], /Usage: magicmix COMMAND/],
    ['an unknown command', ['mxi'], /no command 'mxi'; did you mean 'mix'/],
    ['an option before the command', ['--json'], /'--json' has to come after a command/],
    ['an unknown option', ['mix', '--sead', '1'], /Unknown option '--sead'. Did you mean --seed/],
    ['a missing prompt', ['mix', 'layout.png'], /a LAYOUT picture and a CONTENT prompt.*1 arg/],
    ['a prompt without quotes', ['mix', 'layout.png', 'a', 'cat'], /3 arg.*quotes/],
    ['two layouts', ['mix', '--layout-prompt', 'a', 'layout.png', 'b'], /beside --layout-prompt/],
    ['no number', ['mix', 'layout.png', 'a', '--k-max', 'x'], /Expected a number for --k-max.*'x'/],
    ['no nu', ['mix', 'layout.png', 'a', '--nu', '0.1..x'], /X\.\.Y.*for --nu.*'0\.1\.\.x'/],
    ['no scale', ['mix', 'layout.png', 'a', '--attention', 'a'], /PHRASE=NUMBER.*'a'/],
    ['no file', ['mix', 'layout.png', 'a', '--embedding', '<a>'], /NAME=FILE.*'<a>'/],
    ['too much for devices', ['devices', 'cpu'], /takes no arguments/],
    ['too little for inspect', ['inspect'], /Expected one MODEL/],
    ['no model to pull', ['pull'], /Expected one NAME/],
    ['a misspelt model to pull', ['pull', 'sd15'], /did you mean 'sd1.5'/],
  ]
  for (const [what, args, message] of wrong) {
    it(`exits with 2 after ${what}`, async () => {
      const { code, stdout, stderr } = await magicmix(args)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, message)
      assert.doesNotMatch(stderr, /^ +at /m)
    })
  }

  it('exits with 2 after a value out of range, and says which', async () => {
    const args = ['mix', 'layout.png', 'a cat', '-m', model, ...heads, '--nu', '7']
    const { code, stderr } = await magicmix(args)
    assert.equal(code, 2)
    assert.match(stderr, /between 0 and 1 for nu but received 7 \(INVALID_ARGUMENT\)/)
    assert.doesNotMatch(stderr, /loading/)
  })

  it('exits with 2 before loading if the output has no known format', async () => {
    const { code, stderr } = await magicmix(['mix', 'layout.png', 'a', '-m', model, '-o', 'a.bmp'])
    assert.equal(code, 2)
    assert.doesNotMatch(stderr, /loading/)
  })

  it('prints one JSON object with --json after a failure, too', async () => {
    for (const [args, expected] of [
      [['-m', 'missing.safetensors'], { name: 'MagicMixError', code: 'MODEL_NOT_FOUND' }],
      [['--nu', '7'], { name: 'MagicMixError', code: 'INVALID_ARGUMENT' }],
      [['--sead', '1'], { name: 'UsageError' }],
    ] as const) {
      const { stdout } = await magicmix(['mix', 'layout.png', 'a cat', '--json', ...args])
      const { error } = JSON.parse(stdout) as { error: Record<string, unknown> }
      assert.deepEqual({ ...error, ...expected }, error)
      assert.equal(typeof error.message, 'string')
    }
  })

  it('makes the folder of the output', async () => {
    const file = path.join('new', 'folder', 'cat.png')
    const args = ['mix', 'layout.png', 'a cat', '-o', file, '-m', model, ...heads, ...small]
    const { code, stderr } = await magicmix(args)
    assert.equal(code, 0, stderr)
    assert.equal((await sharp(path.join(folder, file)).metadata()).width, 32)
  })

  it('checks everything that needs no model before it looks for one', async () => {
    const cases: [args: string[], code: string][] = [
      [['missing.png', 'a cat'], 'PICTURE_UNREADABLE'],
      [['layout.png', 'cat '.repeat(80)], 'PROMPT_TOO_LONG'],
      [['layout.png', 'a cat', '--attention', 'dog=1.5'], 'PHRASE_NOT_FOUND'],
      [['layout.png', 'a cat', '--background', 'no colour'], 'INVALID_ARGUMENT'],
    ]
    for (const [args, code] of cases) {
      const { stderr } = await magicmix(['mix', ...args, '-m', 'missing.safetensors'])
      assert.match(stderr, new RegExp(`\\(${code}\\)`))
    }
  })

  it('reads standard input and writes standard output', async () => {
    const args = ['mix', '-', 'a cat', '-o', '-', '--seed', '7', '-m', model, ...heads, ...small]
    const child = spawn(process.execPath, [bin, ...args], { cwd: folder })
    createReadStream(path.join(folder, 'layout.png')).pipe(child.stdin)
    child.stderr.resume()
    const parts: Buffer[] = []
    for await (const part of child.stdout) parts.push(part as Buffer)
    const { width, format } = await sharp(Buffer.concat(parts)).metadata()
    assert.deepEqual([width, format], [32, 'png'])
    const { request, layout } = await readRecipe(Buffer.concat(parts))
    assert.equal(request.seed, 7)
    const sent = await readFile(path.join(folder, 'layout.png'))
    assert.equal(layout?.sha256, createHash('sha256').update(sent).digest('hex'))
    const { code, stderr } = await magicmix([...args, '--json'])
    assert.equal(code, 2)
    assert.match(stderr, /either the picture/)
  })

  it('loses no picture if nobody reads its messages', async () => {
    const args = ['mix', 'layout.png', 'a cat', '-o', 'unheard.png', '-m', model]
    const child = spawn(process.execPath, [bin, ...args, ...heads, ...small], { cwd: folder })
    child.stderr.destroy()
    child.stdout.destroy()
    const [code] = (await once(child, 'exit')) as [number]
    assert.equal(code, 0)
    assert.equal((await sharp(path.join(folder, 'unheard.png')).metadata()).width, 32)
  })

  it('puts a picture elsewhere if its place cannot be written to', async () => {
    await mkdir(path.join(folder, 'taken.png'))
    const args = ['mix', 'layout.png', 'a cat', '-o', 'taken.png', '-m', model]
    const { code, stderr } = await magicmix([...args, ...heads, ...small])
    assert.equal(code, 1)
    const [, rescue = ''] = /it is in (\S+) instead \(PICTURE_UNWRITABLE\)/.exec(stderr) ?? []
    assert.equal((await sharp(rescue).metadata()).width, 32)
    await rm(rescue)
  })

  it('exits with 1 after a failure, with message and code but no stack', async () => {
    const args = ['mix', 'layout.png', 'a cat', '--model', 'missing.safetensors']
    const { code, stdout, stderr } = await magicmix(args)
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /^magicmix: .*missing\.safetensors.*\(MODEL_NOT_FOUND\)\n$/)
    assert.match((await magicmix([...args, '--verbose'])).stderr, /^ +at /m)
  })

  it('mixes a picture, with plain lines of progress in a pipe', async () => {
    const args = ['mix', 'layout.png', 'a cat', '-o', 'cat.png', '--seed', '7', '-m', model]
    const { code, stdout, stderr } = await magicmix([...args, ...heads, ...small])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^Wrote cat\.png \(32 x 32, seed 7, [\d.]+ s\)\n$/)
    assert.match(stderr, /^mixing 2\/2/m)
    // eslint-disable-next-line no-control-regex -- no escape sequences of a terminal
    assert.doesNotMatch(stderr, /\x1b|\r/)
    const { width, height, format } = await sharp(path.join(folder, 'cat.png')).metadata()
    assert.deepEqual([width, height, format], [32, 32, 'png'])
  })

  it('writes the recipe into the picture, and says the scores', async () => {
    const args = ['mix', '--layout-prompt', 'a hill', 'Käse', '-o', 'recipe.png', '-m', model]
    const { stdout } = await magicmix([...args, '--seed', '5', '--score', ...heads, ...small])
    assert.match(stdout, /, content 0\.\d\d, layout prompt 0\.\d\d, layout [01]\.\d\d\)\n$/)
    const { request } = await readRecipe(path.join(folder, 'recipe.png'))
    const { layout, content, seed, score } = request
    assert.deepEqual(
      { layout, content, seed, score },
      { layout: { prompt: 'a hill' }, content: 'Käse', seed: 5, score: true },
    )
  })

  it('prints one JSON object with --json, and nothing else', async () => {
    const args = ['mix', '--layout-prompt', 'a hill', 'a cat', '--json', '-m', model, ...heads]
    const request = ['--attention', 'cat=1.5', '--attention', 'a=-1', '--fit', 'fill']
    const { code, stdout, stderr } = await magicmix([...args, ...small, ...request])
    assert.equal(code, 0, stderr)
    const printed = JSON.parse(stdout) as Record<string, unknown>
    assert.deepEqual(Object.keys(printed).sort(), [
      ...['file', 'height', 'model', 'request', 'seed', 'timings', 'unetCalls', 'width'],
    ])
    const { layout, content, attention, steps, fit } = printed.request as Record<string, unknown>
    assert.deepEqual(
      { layout, content, attention, steps, fit },
      {
        layout: { prompt: 'a hill' },
        content: 'a cat',
        attention: [
          { text: 'cat', scale: 1.5, from: 0, to: 1 },
          { text: 'a', scale: -1, from: 0, to: 1 },
        ],
        steps: 4,
        fit: 'fill',
      },
    )
  })

  const stops = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
  for (const [name, exitCode] of Object.entries(stops)) {
    it(`stops cleanly with exit code ${exitCode} on ${name}`, async function () {
      if (process.platform === 'win32') this.skip() // there, kill does not raise signals
      const args = ['mix', 'layout.png', 'a cat', '-o', 'stopped.png', '-m', model, ...heads]
      const stopAtFirstStep = (text: string, kill: () => void) => {
        if (text.includes('mixing')) kill()
      }
      const { code, signal, stdout, stderr } = await magicmix(
        [...args, ...small, '--steps', '999'],
        stopAtFirstStep,
        name as NodeJS.Signals,
      )
      assert.deepEqual([code, signal, stdout], [exitCode, null, ''])
      assert.match(stderr, /Stopped\.\n$/)
      assert.ok(!(await readdir(folder)).includes('stopped.png'))
    })
  }

  it('checks the installation and the devices', async () => {
    const { code, stdout } = await magicmix(['doctor', '--json', '--device', 'cpu'])
    assert.equal(code, 0)
    const { checks } = JSON.parse(stdout) as { checks: { ok: boolean; step: number }[] }
    assert.equal(checks.length, 2)
    for (const { ok, step } of checks) assert.ok(ok && step > 0 && step < 0.05)
  })

  it('lists devices', async () => {
    const { code, stdout } = await magicmix(['devices', '--json'])
    assert.equal(code, 0)
    const devices = JSON.parse(stdout) as { id: string; usable: boolean }[]
    assert.ok(devices.some(({ id, usable }) => id === 'cpu' && usable))
    assert.match((await magicmix(['devices'])).stdout, /^\* cpu /m)
  })

  it('inspects a model that can mix', async () => {
    const { code, stdout } = await magicmix(['inspect', model, ...heads, '--json'])
    assert.equal(code, 0)
    const { format, family, problem } = JSON.parse(stdout) as Record<string, unknown>
    assert.deepEqual([format, family, problem], ['safetensors', 'sd1', ''])
    const text = (await magicmix(['inspect', model, ...heads, '--tensors'])).stdout
    assert.match(text, /^unet .* channels 32\/64\/128\/128, 4\/4\/4\/4 heads$/m)
    assert.match(text, /^model\.diffusion_model\.out\.2\.weight +F16 +4 x 32 x 3 x 3$/m)
    assert.match(text, /It can mix\.\n$/)
  })

  it('inspects what is no model', async () => {
    await writeFile(path.join(folder, 'no.safetensors'), 'no model at all')
    const { code, stdout, stderr } = await magicmix(['inspect', 'no.safetensors'])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /\(MODEL_FORMAT\)/)
  })

  it('mixes without a model of your own', async () => {
    const args = ['mix', '--layout-prompt', 'a heart', 'a photo of a tiger', '-o', 'box.png']
    const { code, stdout, stderr } = await magicmix([...args, '--steps', '4', ...oneThread])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^Wrote box\.png \(128 x 128, /)
  })
})
