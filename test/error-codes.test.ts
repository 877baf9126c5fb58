/** The errors' page: every example is a message that somebody gets. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import {
  MagicMix,
  type MagicMixErrorCode,
  type MixRequest,
  convert,
  pull,
  readRecipe,
} from 'magicmix'

import { errorCodes } from '../dist/error-codes.js'
import { HubServer } from './support/hub-server.js'
import { tinyModel } from './support/models.js'
import { packageRoot } from './support/package-root.js'
import { readSafetensors, safetensorsBytes } from './support/safetensors.js'

/** Where the wording stands, of errors that are hard to have; the tests named have them all the same. */
const worded: Partial<Record<MagicMixErrorCode, readonly [file: string, ...parts: string[]]>> = {
  // test/hosts.test.ts, in a group of processes with little memory
  OUT_OF_MEMORY: ['cpp/tensor/device.cpp', ' MiB on device', 'but only ', ' MiB are free'],
  // test/threads.test.ts, as another user
  OUT_OF_THREADS: [
    'binding/worker.cpp',
    'the system gives this process no more threads (',
    '); a mixer needs at least one: raise `ulimit -u`',
  ],
  // test/isolate.test.ts and test/gpu.test.ts
  DEVICE_FAILED: ['ts/isolate/isolated-mixer.ts', "The mixer's own process has ended ("],
  INTERNAL: ['binding/worker.cpp', 'Node-API failed to ', 'add a cleanup hook'],
}

const variables = ['HF_ENDPOINT', 'HF_HOME', 'HF_HUB_CACHE', 'HF_TOKEN', 'HF_HUB_OFFLINE'] as const

describe('the table of error codes', function () {
  this.timeout(120_000)
  let folder: string
  let hub: HubServer
  let mixer: MagicMix
  const outside = variables.map((name) => [name, process.env[name]] as const)
  const at = (name: string) => path.join(folder, name)
  const request: MixRequest = {
    ...{ layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger' },
    ...{ steps: 2, kMax: 0.5, kMin: 0.5, width: 64, height: 64, seed: 1 },
  }
  const small = () => mixer.mix(request)

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-codes-'))
    hub = await HubServer.start()
    for (const name of variables) delete process.env[name]
    Object.assign(process.env, { HF_ENDPOINT: hub.address, HF_HOME: folder })
    hub.add('somebody/model', { 'model.safetensors': Buffer.alloc(1000) })
    mixer = await MagicMix.load({ threads: 1, maxQueue: 2 })
  })
  beforeEach(() => hub.reset())
  after(async () => {
    await mixer.dispose()
    await hub.stop()
    for (const [name, value] of outside) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    await rm(folder, { recursive: true, force: true })
  })

  const provoked: Partial<Record<MagicMixErrorCode, () => unknown>> = {
    INVALID_ARGUMENT: () => mixer.mix({ ...request, nu: 1.5 }),
    UNKNOWN_OPTION: () => mixer.mix({ ...request, kmin: 0.2 } as MixRequest),
    PROMPT_TOO_LONG: () => mixer.mix({ ...request, content: 'a very '.repeat(40) + 'long prompt' }),
    PROMPT_SYNTAX: () =>
      mixer.mix({ ...request, content: 'a [heart:tiger:0.4', promptSyntax: 'a1111' }),
    PHRASE_NOT_FOUND: () => mixer.mix({ ...request, attention: { lion: 1.4 } }),
    PHRASE_TRUNCATED: () =>
      mixer.mix({
        ...{ ...request, content: `${'very '.repeat(75)}striped`, truncate: true },
        attention: { striped: 1.4 },
      }),
    PICTURE_UNREADABLE: () => mixer.mix({ ...request, layout: at('corgi.jpg') }),
    PICTURE_UNWRITABLE: async () => (await small()).toFile(at('missing/mix.png')),
    RECIPE_NOT_FOUND: () => readRecipe(path.join(packageRoot, 'models/layouts/heart.png')),
    RECIPE_INVALID: async () => {
      const bytes = await (await small()).toBuffer({ format: 'webp', recipe: true })
      const changed = bytes.toString('latin1').replace('"kMin":0.5', '"kMin":9.5')
      await writeFile(at('mix.webp'), Buffer.from(changed, 'latin1'))
      await readRecipe(at('mix.webp'))
    },
    RECIPE_MISMATCH: async () => {
      await cp(path.join(packageRoot, 'models/layouts/heart.png'), at('heart.png'))
      await (await mixer.mix({ ...request, layout: at('heart.png') })).toFile(at('mix.png'))
      await rm(at('heart.png'))
      await magicmix('replay', 'mix.png')
    },
    MODEL_NOT_FOUND: () => MagicMix.load({ model: at('sd-v1-4.safetensors') }),
    MODEL_FORMAT: async () => {
      await writeFile(at('sd-v1-4.safetensors'), '<!doctype html>'.padEnd(1000))
      await MagicMix.load({ model: at('sd-v1-4.safetensors') })
    },
    MODEL_UNSUPPORTED: async () => {
      await cp(path.join(packageRoot, 'models/world-128'), at('sd3'), { recursive: true })
      const index = await readFile(at('sd3/model_index.json'), 'utf8')
      const other = index.replace('StableDiffusionPipeline', 'StableDiffusion3Pipeline')
      await writeFile(at('sd3/model_index.json'), other)
      await MagicMix.load({ model: at('sd3') })
    },
    CONFIG_NEEDED: async () => MagicMix.load({ model: await tinyModel() }),
    ACCESS_DENIED: () => {
      hub.misbehave = (_, response) => {
        response.writeHead(403, { 'x-error-code': 'GatedRepo' }).end()
        return true
      }
      return pull('somebody/model')
    },
    DOWNLOAD_FAILED: () => {
      hub.misbehave = (_, response) => {
        response.writeHead(400).end('no')
        return true
      }
      return pull('somebody/model')
    },
    DOWNLOAD_DAMAGED: () => {
      hub.changeEntry = (entry) => ({ ...entry, lfs: { oid: '0'.repeat(64), size: 1000 } })
      return pull('somebody/model/model.safetensors')
    },
    DISK_FULL: () => {
      hub.changeEntry = (entry) => ({ ...entry, size: 2 ** 52 })
      return pull('somebody/model/model.safetensors')
    },
    FILE_UNWRITABLE: async () =>
      convert({
        input: path.join(packageRoot, 'models/world-128'),
        output: at('missing/model.gguf'),
      }),
    DEVICE_UNAVAILABLE: () => MagicMix.load({ device: 'cuda:99' }),
    QUEUE_FULL: async () => {
      const running = new Promise((resolve) => {
        void mixer.mix({ ...request, steps: 20, onProgress: resolve }).catch(resolve)
      })
      await running
      const waiting = [small(), small()]
      await small().finally(() => Promise.all(waiting))
    },
    TIMED_OUT: async () => {
      await using hurried = await MagicMix.load({ threads: 1, timeLimit: 1 })
      await hurried.mix(request)
    },
    DISPOSED: async () => {
      const brief = await MagicMix.load({ threads: 1 })
      await brief.dispose()
      await brief.mix(request)
    },
    ADDON_UNAVAILABLE: () =>
      program(['--no-addons', path.join(packageRoot, 'dist/cli/main.js'), 'devices']),
    BUILD_FAILED: () => magicmix('build'),
    NOT_FINITE: async () => {
      await cp(path.join(packageRoot, 'models/world-128'), at('damaged'), { recursive: true })
      const file = at('damaged/unet/diffusion_pytorch_model.safetensors')
      const { header, data } = readSafetensors(file)
      data.fill(0xff, ...header['conv_out.bias']!.data_offsets)
      await writeFile(file, safetensorsBytes(header, data))
      await using damaged = await MagicMix.load({ model: at('damaged'), threads: 1 })
      await damaged.mix(request)
    },
  }

  /** The command line, where no compiler is found. */
  const magicmix = (...args: string[]) =>
    program([path.join(packageRoot, 'dist/cli/main.js'), ...args])
  async function program(args: string[]): Promise<void> {
    await mkdir(at('empty'), { recursive: true })
    const env = { ...process.env, PATH: at('empty') }
    const child = spawn(process.execPath, args, { cwd: folder, env })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    await new Promise((resolve) => child.once('close', resolve))
    const [, message, code] = /^magicmix: (.*) \((\w+)\)$/ms.exec(stderr) ?? [undefined, stderr]
    throw Object.assign(new Error(message), { code })
  }

  /** Without what differs from machine to machine. */
  const plain = (message: string) =>
    message
      .replaceAll(folder + path.sep, '')
      .replaceAll(packageRoot + path.sep, '')
      .replaceAll(folder, '/srv')
      .replaceAll(hub.address, 'https://huggingface.co')
      .replaceAll(new URL(hub.address).host, 'huggingface.co')
      .replace(/on \S+ (\(.*?\) )?with Node [\d.]+.*$/s, 'here')
      .replace(/ For example: .*/, '')
      .replace(/\d+\.\d MB/g, 'MB')

  for (const [code, { example }] of Object.entries(errorCodes)) {
    it(`has an example of ${code}`, async () => {
      const { [code as MagicMixErrorCode]: provoke } = provoked
      if (!provoke) {
        const [file, ...parts] = worded[code as MagicMixErrorCode]!
        const source = await readFile(path.join(packageRoot, file), 'utf8')
        for (const part of parts) assert.ok(source.includes(part) && example.includes(part), part)
        return
      }
      const error: unknown = await Promise.resolve()
        .then(provoke)
        .then(
          () => assert.fail('nothing was wrong'),
          (thrown: unknown) => thrown,
        )
      const { code: actual, message } = error as { code: string; message: string }
      assert.equal(actual, code, message)
      assert.equal(plain(message), plain(example))
    })
  }
})
