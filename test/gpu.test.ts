/**
 * The way of a mix over a GPU, on a machine without one: gpu/fake_gpu.cpp is a backend whose device
 * lacks operations, is full, or fails when it is told to.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { packageRoot } from './support/package-root.js'
import { programOf } from './support/programs.js'
import { tinyDecoders, writeTinyFolder } from './support/tiny-decoders.js'

const run = promisify(execFile)
const build = path.join(packageRoot, 'build')

describe('a GPU', function () {
  this.timeout(300_000)
  let folder: string
  let env: NodeJS.ProcessEnv
  before(async function () {
    if (process.platform !== 'linux') this.skip()
    const library = path.join(build, 'fake-gpu', 'magicmix-vulkan.so')
    assert.ok(existsSync(library), `${library} is not built: npm run build:native`)
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-gpu-'))
    env = {
      ...process.env,
      MAGICMIX_BACKENDS: path.join(build, 'fake-gpu'),
      MAGICMIX_CACHE: path.join(folder, 'cache'),
      VK_DRIVER_FILES: path.join(build, 'fake-gpu'), // as if there were a driver
    }
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** What a program with this body, which gives a value, says of a mixer on the GPU. */
  async function onGpu<T>(body: string, settings: Record<string, string> = {}): Promise<T> {
    const program = await programOf(`
      const { devices } = require(${JSON.stringify(packageRoot)})
      const load = (more) => MagicMix.load({ ...options, device: 'auto', ...more })
      const failure = (promise) => promise.then(
        () => 'none',
        ({ code, message, details }) => ({ code, message, details }),
      )
      const main = async () => { ${body} }
      main().then((value) => console.log(JSON.stringify(value)))`)
    const { stdout } = await run(process.execPath, ['-e', program], {
      env: { ...env, ...settings },
    })
    return JSON.parse(stdout) as T
  }

  interface Failure {
    code: string
    message: string
    details: Record<string, unknown>
  }

  it('is taken by auto, and makes the same picture as the CPU', async () => {
    const found = await onGpu<{ chosen: string; placement: object; difference: number }>(`
      const chosen = (await devices()).find((device) => device.chosen).id
      const [gpu, cpu] = [await load(), await load({ device: 'cpu' })]
      const [one, other] = [await gpu.mix(request), await cpu.mix(request)]
      const difference = Math.max(...one.data.map((byte, i) => Math.abs(byte - other.data[i])))
      return { chosen, placement: gpu.model.placement, difference }`)
    assert.equal(found.chosen, 'vulkan:0')
    const all = { textEncoder: 'vulkan:0', unet: 'vulkan:0', vae: 'vulkan:0' }
    assert.deepEqual(found.placement, all)
    assert.ok(found.difference <= 1, `${found.difference} of 255`)
  })

  it('leaves to the CPU what it lacks, operation by operation, and is as exact', async () => {
    const lacking = ['GROUP_NORM', 'FLASH_ATTN_EXT', 'CONV_2D', 'UPSCALE', 'SOFT_MAX']
    const log = path.join(folder, 'computed')
    const mocha = path.join(packageRoot, 'node_modules', 'mocha', 'bin', 'mocha.js')
    const { stdout } = await run(process.execPath, [mocha, '--config', '.mocharc.gpu.json'], {
      cwd: packageRoot,
      env: {
        ...env,
        MAGICMIX_TEST_DEVICE: 'vulkan:0',
        GGML_VK_DISABLE_F16: '1',
        FAKE_GPU_LACKS: lacking.join(),
        FAKE_GPU_LOG: log,
      },
    }).catch((error: { stdout: string }) => assert.fail(error.stdout))
    assert.ok(Number(/(\d+) passing/.exec(stdout)?.[1]) > 20, stdout)

    const computed = (await readFile(log, 'utf8')).split('\n')
    for (const name of ['MUL_MAT', 'IM2COL', 'SILU']) assert.ok(computed.includes(name), name)
    for (const name of lacking) assert.ok(!computed.includes(name), name)
  })

  it('keeps off it what shall stay on the CPU', async () => {
    const placement = await onGpu(`
      const mixer = await load({ keepOnCpu: ['textEncoder', 'vae'] })
      await mixer.mix(request)
      return mixer.model.placement`)
    assert.deepEqual(placement, { textEncoder: 'cpu', unet: 'vulkan:0', vae: 'cpu' })
  })

  it('runs a tiny decoder, too, or leaves it to the CPU with the autoencoder', async () => {
    const tiny = await writeTinyFolder(path.join(folder, 'tiny'), tinyDecoders.small)
    const differences = await onGpu<number[]>(`
      const tinyDecoder = ${JSON.stringify(tiny)}
      const wanted = { ...request, decoder: 'tiny', previewEvery: 1, onProgress() {} }
      const mixed = []
      for (const more of [{}, { keepOnCpu: ['vae'] }, { device: 'cpu' }]) {
        mixed.push((await (await load({ tinyDecoder, ...more })).mix(wanted)).data)
      }
      const from = (one) => Math.max(...one.map((byte, i) => Math.abs(byte - mixed[2][i])))
      return mixed.slice(0, 2).map(from)`)
    // Formula weights answer a latent that differs by rounding with colours that do.
    for (const difference of differences) assert.ok(difference <= 2, `${difference} of 255`)
  })

  it('is too small for a model: says how much it takes, and how much there is', async () => {
    const failure = await onGpu<Failure>('return failure(load())', {
      FAKE_GPU_MEMORY: String(1 << 20),
    })
    assert.equal(failure.code, 'OUT_OF_MEMORY')
    assert.match(failure.message, /\d+ MiB on device 'vulkan:0'.* 1 MiB are free/)
  })

  it('is too small for a picture, and goes on with a smaller one', async () => {
    const [failure, small] = await onGpu<[Failure, number]>(
      `const mixer = await load()
      const large = failure(mixer.mix({ ...request, width: 1024, height: 1024 }))
      return [await large, (await mixer.mix(request)).width]`,
      { FAKE_GPU_MEMORY: String(300 << 20) },
    )
    assert.equal(failure.code, 'OUT_OF_MEMORY')
    assert.ok(Number(failure.details['neededBytes']) > Number(failure.details['freeBytes']))
    assert.equal(small, 64)
  })

  it('is too small for more sessions of the UNet, which is found before the first step', async () => {
    const needed = await onGpu<Record<string, Failure & { stages: string[] }>>(`
      const mixer = await load({ keepOnCpu: ['vae'] })
      process.env.FAKE_GPU_MEMORY = String(mixer.model.memory.weights)
      const changes = { guidance: { guidanceInterval: [0, 0.3] }, cache: { cache: {} } }
      changes.both = { ...changes.guidance, ...changes.cache }
      const side = mixer.model.nativeSize
      const found = {}
      for (const [name, change] of Object.entries(changes)) {
        const stages = []
        const onProgress = ({ stage }) => stages.push(stage)
        const whole = { ...request, width: side, height: side, ...change, onProgress }
        found[name] = { ...(await failure(mixer.mix(whole))), stages }
      }
      return found`)
    for (const { code, message, stages } of Object.values(needed)) {
      assert.equal(code, 'OUT_OF_MEMORY')
      assert.match(message, /a mix of 512x512 needs \d+ MiB/)
      assert.deepEqual(stages, [])
    }
    const bytes = (name: string) => Number(needed[name]!.details['neededBytes'])
    assert.ok(bytes('both') > bytes('cache') && bytes('both') > bytes('guidance'))
  })

  it('uses the inner levels again as the CPU does, whichever of the two computes them', async () => {
    for (const lacks of ['', 'GROUP_NORM', 'UPSCALE,CONCAT,ADD']) {
      const difference = await onGpu<number>(
        `
        const [gpu, cpu] = [await load(), await load({ device: 'cpu' })]
        const cached = { ...request, steps: 8, cache: { every: 3, blocks: 4 } }
        const [one, other] = [await gpu.mix(cached), await cpu.mix(cached)]
        return Math.max(...one.data.map((byte, i) => Math.abs(byte - other.data[i])))`,
        { FAKE_GPU_LACKS: lacks },
      )
      assert.ok(difference <= 1, `${difference} of 255 without ${lacks || 'nothing'}`)
    }
  })

  it('fails in the middle of a mix, which is an error and not the end', async () => {
    const [failure, code, width] = await onGpu<[Failure, Failure, number]>(`
      const mixer = await load()
      process.env.FAKE_GPU_FAILS = 'SILU'
      const first = await failure(mixer.mix(request))
      const second = await failure(mixer.mix(request))
      delete process.env.FAKE_GPU_FAILS
      return [first, second, (await mixer.mix(request)).width]`)
    assert.equal(failure.code, 'DEVICE_FAILED')
    assert.match(failure.message, /'vulkan:0' failed/)
    assert.equal(code.code, 'DEVICE_FAILED')
    assert.equal(width, 64)
  })

  it('is rejected when it computes nothing', async () => {
    const found = await onGpu<{ usable: boolean; chosen: boolean; reason: string }>(
      "return (await devices()).find(({ id }) => id === 'vulkan:0')",
      { FAKE_GPU_FAILS: 'MUL_MAT', MAGICMIX_CACHE: path.join(folder, 'another-cache') },
    )
    assert.equal(found.usable, false)
    assert.equal(found.chosen, false)
    assert.match(found.reason, /failed to compute/)
  })

  it('ends a mix soon after it is cancelled', async () => {
    const [name, done] = await onGpu<[string, number]>(`
      const mixer = await load()
      const cancel = new AbortController()
      const onProgress = ({ step }) => { if (step === 2) cancel.abort() }
      const mix = mixer.mix({ ...request, steps: 500, signal: cancel.signal, onProgress })
      const { name } = await mix.catch((error) => error)
      return [name, (await mixer.mix(request)).width]`)
    assert.equal(name, 'AbortError')
    assert.equal(done, 64)
  })

  it('is used in the process of an isolated mixer', async () => {
    const found = await onGpu<{ unet: string; difference: number }>(`
      const [gpu, cpu] = [await load({ isolate: true }), await load({ device: 'cpu' })]
      const [one, other] = [await gpu.mix(request), await cpu.mix(request)]
      const difference = Math.max(...one.data.map((byte, i) => Math.abs(byte - other.data[i])))
      const { unet } = gpu.model.placement
      await gpu.dispose()
      return { unet, difference }`)
    assert.equal(found.unet, 'vulkan:0')
    assert.ok(found.difference <= 1)
  })

  it('is not tested by a process that is itself a test, which would have no end', async () => {
    const settings = { MAGICMIX_PREFLIGHT: '1', MAGICMIX_CACHE: path.join(folder, 'none') }
    const found = await onGpu<{ reason: string; device: string }>(
      `
      const { reason } = (await devices()).find(({ backend }) => backend === 'vulkan')
      return { reason, device: (await load()).model.device }`,
      settings,
    )
    assert.match(found.reason, /itself the test/)
    assert.equal(found.device, 'cpu')
  })
})
