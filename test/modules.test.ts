import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'

import { packageRoot } from './support/package-root.js'

const run = promisify(execFile)
const names = [
  'MagicMix',
  'MagicMixError',
  'Mix',
  'Sweep',
  'convert',
  'devices',
  'pull',
  'readRecipe',
  'recipe',
  'requestSchema',
  'rewritePicture',
  'sweepSchema',
]

/** A package that depends on magicmix, as a user's does. */
describe('modules', () => {
  let consumer: string
  before(async () => {
    consumer = await mkdtemp(path.join(tmpdir(), 'magicmix-consumer-'))
    await mkdir(path.join(consumer, 'node_modules', '@types'), { recursive: true })
    const link = (target: string, name: string) =>
      symlink(target, path.join(consumer, 'node_modules', name), 'junction')
    await link(packageRoot, 'magicmix')
    await link(path.join(packageRoot, 'node_modules', '@types', 'node'), '@types/node')
  })
  after(() => rm(consumer, { recursive: true, force: true }))

  const runFile = async (name: string, source: string): Promise<string> => {
    const file = path.join(consumer, name)
    await writeFile(file, source)
    return (await run(process.execPath, [file], { cwd: consumer })).stdout.trim()
  }

  it('can be required', async () => {
    const source = `console.log(Object.keys(require('magicmix')).sort().join())`
    assert.equal(await runFile('required.cjs', source), names.join())
  })

  it('can be imported by name', async () => {
    const source = `import { ${names.join(', ')} } from 'magicmix'
      console.log([${names.join(', ')}].map((each) => typeof each).join())`
    assert.equal(
      await runFile('imported.mjs', source),
      names.map((name) => (name.endsWith('Schema') ? 'object' : 'function')).join(),
    )
  })

  it('is one thing, imported or required', async () => {
    const source = `import { createRequire } from 'node:module'
      import { MagicMixError } from 'magicmix'
      console.log(createRequire(import.meta.url)('magicmix').MagicMixError === MagicMixError)`
    assert.equal(await runFile('both.mjs', source), 'true')
  })

  it('says nothing when it is loaded', async () => {
    assert.equal(await runFile('silent.cjs', `require('magicmix')`), '')
  })

  it('works in a worker thread, and lets it end', async () => {
    const source = `const { devices } = require(${JSON.stringify(packageRoot)})
      devices().then((found) => require('node:worker_threads').parentPort.postMessage(found.some(({ id }) => id === 'cpu')))`
    const worker = new Worker(source, { eval: true })
    const [message, code] = await Promise.all([
      new Promise((resolve) => worker.once('message', resolve)),
      new Promise((resolve) => worker.once('exit', resolve)),
    ])
    assert.deepEqual([message, code], [true, 0])
  })

  for (const [file, moduleKind] of [
    ['typed.mts', 'node16'],
    ['typed.cts', 'node16'],
    ['bundled.ts', 'esnext'],
  ] as const) {
    it(`has types that a strict program can use (${file}, ${moduleKind})`, async () => {
      await writeFile(path.join(consumer, file), typedProgram)
      const compile = path.join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc')
      const options = [
        ...['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022'],
        ...['--lib', 'es2022,esnext.disposable', '--types', 'node', '--module', moduleKind],
        ...['--moduleResolution', moduleKind === 'esnext' ? 'bundler' : 'node16'],
      ]
      const { stdout } = await run(process.execPath, [compile, ...options, file], {
        cwd: consumer,
      }).catch((error: { stdout: string }) => error)
      assert.equal(stdout, '')
    })
  }
})

const typedProgram = `
import { MagicMix, MagicMixError, Mix, devices } from 'magicmix'
import type { Device, LoadOptions, MixRequest, MixState, ProgressEvent, Token } from 'magicmix'

export async function program(options: LoadOptions, seed?: number): Promise<Buffer> {
  const found: Device[] = await devices()
  await using mixer = await MagicMix.load({ ...options, device: found[0]?.id })
  const tokens: Token[] = mixer.tokenize('a corgi')
  const request: MixRequest = {
    layout: { prompt: 'a hill' },
    content: 'a corgi',
    seed,
    attention: { corgi: 1.2 },
    onProgress: (event: ProgressEvent) => console.log(event.stage, tokens.length),
  }
  try {
    const mix: Mix = await mixer.mix(request)
    const states: MixState[] = mix.trace
    const again: Mix = await mixer.mix({ ...mix.request, kMin: mix.request.kMin / 2 })
    await again.toSharp().resize(states.length).toFile('again.png')
    return await mix.toBuffer('webp')
  } catch (error) {
    if (error instanceof MagicMixError && error.code === 'DISPOSED') return Buffer.alloc(0)
    throw error
  }
}

export function mistakes(mixer: MagicMix): void {
  // @ts-expect-error: there is no such option
  void mixer.mix({ layout: 'a.png', content: 'a', guidance: 7 })
  // @ts-expect-error: only load makes one
  new MagicMix()
  // @ts-expect-error: a list of codes, not any text
  new MagicMixError('OOPS', 'a')
}
`
