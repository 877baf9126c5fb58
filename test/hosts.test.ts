/** Programs that are not plain Node: test runners, servers that copy what they need, containers. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { nodeFileTrace } from '@vercel/nft'
import { type BuildOptions, build } from 'esbuild'

import { packageRoot } from './support/package-root.js'
import { runNode, runProgram, wellEnded } from './support/programs.js'

const mixing = `
  const mixer = await MagicMix.load({ threads: 1 })
  const request = { layout: { prompt: 'a red circle' }, content: 'a blue square', steps: 2, kMax: 1 }
  const mix = await mixer.mix({ ...request, width: 64, height: 64 })
  console.log(mixer.model.device, mix.width)
  await mixer.dispose()`

describe('in hosts', function () {
  this.timeout(120_000)
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-hosts-'))))
  after(() => rm(folder, { recursive: true }))

  it('a context of its own, as in Jest, with errors and arrays of another realm', async () => {
    const { stdout, stderr } = await runProgram(`
      const vm = require('node:vm')
      const Module = require('node:module')
      const names = Object.getOwnPropertyNames(globalThis)
      const builtIn = new Set(Object.getOwnPropertyNames(vm.runInNewContext('globalThis')))
      const context = vm.createContext({})
      for (const name of names) if (!builtIn.has(name)) context[name] = globalThis[name]
      Module.prototype._compile = function (code, filename) {
        const wrapped = vm.runInContext(Module.wrap(code.replace(/^#!.*/, '')), context, { filename })
        const require = Module.createRequire(filename)
        require.cache = Module._cache
        const load = (id) => this.require(id)
        Object.assign(load, require)
        wrapped.call(this.exports, this.exports, load, this, filename, path.dirname(filename))
      }
      const path = require('node:path')
      for (const file of Object.keys(Module._cache)) if (!file.endsWith('.node')) delete Module._cache[file]
      const { MagicMix: Inner, MagicMixError } = require(${JSON.stringify(packageRoot)})
      ;(async () => {
        const mixer = await Inner.load(options)
        const png = await (await mixer.mix(request)).toBuffer()
        const inner = vm.runInContext('Uint8Array', context)
        for (const layout of [png, inner.from(png), new Uint8Array(png)]) {
          await mixer.mix({ ...request, layout, signal: new AbortController().signal })
        }
        for (const wrong of [{ layout: 'none.png' }, { nu: 7 }, { loras: [{ file: 'none' }] }]) {
          const error = await mixer.mix({ ...request, ...wrong }).catch((error) => error)
          console.log(error instanceof MagicMixError, error instanceof Error, error.code)
        }
        await mixer.dispose()
      })()`)
    const errors = ['PICTURE_UNREADABLE', 'INVALID_ARGUMENT', 'MODEL_NOT_FOUND']
    assert.equal(stdout, errors.map((code) => `true false ${code}\n`).join(''), stderr)
  })

  it('a program with its own Error.prepareStackTrace', async () => {
    const ended = await runProgram(`
      Error.prepareStackTrace = (_, sites) => sites.map((site) => site.getLineNumber())
      MagicMix.load({ model: '/none' }).catch((error) => console.log(error.code, error.name))`)
    assert.deepEqual(ended, wellEnded('MODEL_NOT_FOUND MagicMixError'))
  })

  it('a folder with only the files that nft finds, as in Next standalone', async () => {
    const index = path.join(packageRoot, 'dist', 'index.js')
    const { fileList } = await nodeFileTrace([index], { base: packageRoot })
    const copy = path.join(folder, 'standalone')
    for (const file of fileList) {
      await mkdir(path.dirname(path.join(copy, file)), { recursive: true })
      await cp(path.join(packageRoot, file), path.join(copy, file))
    }
    const program = `(async () => { const { MagicMix } = require('./dist/index.js'); ${mixing} })()`
    assert.deepEqual(await runNode(['-e', program], copy), wellEnded('cpu 64'))
  })

  it('a bundle, which keeps it external or is told to', async () => {
    const entry = path.join(folder, 'entry.mjs')
    await writeFile(entry, `import { MagicMix } from 'magicmix'\n${mixing}\n`)
    await mkdir(path.join(folder, 'node_modules'))
    await symlink(packageRoot, path.join(folder, 'node_modules', 'magicmix'))
    const common: BuildOptions = {
      ...{ entryPoints: [entry], bundle: true, platform: 'node', format: 'esm' },
    }
    const outfile = path.join(folder, 'out', 'bundle.mjs')
    await build({ ...common, outfile, external: ['magicmix'] })
    assert.deepEqual(await runNode([outfile], folder), wellEnded('cpu 64'))

    const banner = `import { createRequire } from 'node:module'; import { dirname as d } from 'node:path';
      const require = createRequire(import.meta.url), __filename = import.meta.filename,
      __dirname = d(__filename);`
    await build({ ...common, outfile, external: ['sharp'], banner: { js: banner } })
    const { stderr } = await runNode([outfile], folder)
    assert.match(stderr, /ADDON_UNAVAILABLE|bundled into another file/)
    assert.match(stderr, /serverExternalPackages.*--external:magicmix/)
  })

  const model = (flags: string[]) =>
    runNode(
      [...flags, '-e', `(async () => { const { MagicMix } = require('.'); ${mixing} })()`],
      packageRoot,
    )
  const permission = ['--experimental-permission', '--allow-fs-read=*', '--no-warnings']

  it("Node's permission model: with --allow-addons it mixes, without it says so", async function () {
    const { status } = spawnSync(process.execPath, [...permission, '--allow-addons', '-e', '0'])
    if (status !== 0) return this.skip() // an older or a newer Node
    assert.deepEqual(await model([...permission, '--allow-addons']), wellEnded('cpu 64'))
    const refused = await model(permission)
    assert.match(refused.stderr, /ADDON_UNAVAILABLE/)
    assert.match(refused.stderr, /--allow-addons/)
    const alone = `require('.').MagicMix.load({ isolate: true }).catch((e) => console.log(e.code, e.message))`
    const { stdout } = await runNode([...permission, '--allow-addons', '-e', alone], packageRoot)
    assert.match(stdout, /^DEVICE_UNAVAILABLE .*permission model.*--allow-child-process/)
  })

  it('a user without a name or a home, as containers have', async function () {
    if (process.getuid?.() !== 0) return this.skip()
    const program = `
      process.setgid(4711); process.setuid(4711)
      delete process.env.HOME; delete process.env.XDG_CACHE_HOME
      ;(async () => { const { MagicMix } = require('.'); ${mixing}
        await MagicMix.load({ model: 'hf:sd1.5' }).catch(({ code, message }) => console.log(code, message))
        process.env.HF_HOME = '/none'; process.env.HF_HUB_OFFLINE = '1'
        await MagicMix.load({ model: 'hf:sd1.5' }).catch(({ code }) => console.log(code))
      })()`
    const { stdout, stderr } = await runNode(['-e', program], packageRoot)
    assert.equal(stderr, '')
    assert.match(stdout, /^cpu 64\nINVALID_ARGUMENT .*set HOME, or HF_HOME.*\nMODEL_NOT_FOUND\n$/)
  })

  it('a container of one core, half a GiB and few processes', async function () {
    const groups = ['cpu', 'memory', 'pids'].map((kind) => `/sys/fs/cgroup/${kind}/magicmix-test`)
    try {
      for (const group of groups) await mkdir(group)
      await writeFile(`${groups[0]}/cpu.cfs_quota_us`, '100000', { flag: 'r+' })
      await writeFile(`${groups[1]}/memory.limit_in_bytes`, String(512 << 20), { flag: 'r+' })
      await writeFile(`${groups[2]}/pids.max`, '40', { flag: 'r+' })
    } catch {
      for (const group of groups) await rm(group, { recursive: true }).catch(() => {})
      return this.skip() // no cgroups of version 1 can be made here
    }
    try {
      const program = `
        const { writeFileSync } = require('node:fs')
        for (const group of ${JSON.stringify(groups)}) writeFileSync(group + '/cgroup.procs', String(process.pid))
        ;(async () => { const { MagicMix } = require('.'); ${mixing.replace('threads: 1', '')}
          const other = await MagicMix.load()
          console.log(other.model.threads)
          await other.mix({ ...request, width: 4096, height: 4096 })
            .catch(({ code, details }) => console.log(code, details.freeBytes < ${512 << 20}))
        })()`
      const ended = await runNode(['-e', program], packageRoot)
      assert.deepEqual(ended, wellEnded('cpu 64\n1\nOUT_OF_MEMORY true'))
    } finally {
      for (const group of groups) execFileSync('rmdir', [group])
    }
  })

  it('processes of a cluster, which share the machine', async () => {
    const program = path.join(folder, 'cluster.cjs')
    await writeFile(
      program,
      `const cluster = require('node:cluster')
      if (cluster.isPrimary) {
        cluster.setupPrimary({ exec: __filename })
        for (const _ of [1, 2]) cluster.fork()
      } else (async () => {
        const { MagicMix } = require(${JSON.stringify(packageRoot)})
        ${mixing}
        process.disconnect()
      })()`,
    )
    assert.deepEqual(await runNode([program], folder), wellEnded('cpu 64\ncpu 64'))
  })

  it('a program whose address space is limited', async function () {
    if (process.platform !== 'linux') return this.skip()
    const program = `(async () => { const { MagicMix } = require('.')
      const mixer = await MagicMix.load({ threads: 1 })
      const request = { layout: { prompt: 'a' }, content: 'b', steps: 1, kMax: 1 }
      await mixer.mix({ ...request, width: 64, height: 64 })
      const used = Number(/VmSize:\\s+(\\d+)/.exec(require('node:fs').readFileSync('/proc/self/status', 'utf8'))[1])
      const limit = (used + 200_000) * 1024
      require('node:child_process').execFileSync('prlimit', ['--pid', process.pid, '--as=' + limit])
      await mixer.mix({ ...request, width: 2048, height: 2048 })
        .catch(({ code }) => console.log(code))
      const { width } = await mixer.mix({ ...request, width: 64, height: 64 })
      console.log(width)
    })()`
    const { stdout, signal } = await runNode(['-e', program], packageRoot)
    assert.deepEqual([stdout, signal], ['OUT_OF_MEMORY\n64\n', null])
  })
})
