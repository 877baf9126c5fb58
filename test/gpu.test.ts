/**
 * The way of a mix over a GPU, on a machine without one: gpu/fake_gpu.cpp is a backend whose device
 * lacks operations, is full, or fails when it is told to.
 */
import assert from 'node:assert/strict'
import path from 'node:path'

import { FakeGpu } from './support/fake-gpu.js'
import { tinyDecoders, writeTinyFolder } from './support/tiny-decoders.js'

describe('a GPU', function () {
  this.timeout(300_000)
  const gpu = new FakeGpu('vulkan')

  interface Failure {
    code: string
    message: string
    details: Record<string, unknown>
  }

  it('is taken by auto, and makes the same picture as the CPU', async () => {
    const found = await gpu.says<{ chosen: string; placement: object; difference: number }>(`
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
    const computed = await gpu.passesGolden({
      GGML_VK_DISABLE_F16: '1',
      FAKE_GPU_LACKS: lacking.join(),
    })
    for (const name of ['MUL_MAT', 'IM2COL', 'SILU']) assert.ok(computed.includes(name), name)
    for (const name of lacking) assert.ok(!computed.includes(name), name)
  })

  it('keeps off it what shall stay on the CPU', async () => {
    const placement = await gpu.says(`
      const mixer = await load({ keepOnCpu: ['textEncoder', 'vae'] })
      await mixer.mix(request)
      return mixer.model.placement`)
    assert.deepEqual(placement, { textEncoder: 'cpu', unet: 'vulkan:0', vae: 'cpu' })
  })

  it('runs a tiny decoder, too, or leaves it to the CPU with the autoencoder', async () => {
    const tiny = await writeTinyFolder(path.join(gpu.folder, 'tiny'), tinyDecoders.small)
    const differences = await gpu.says<number[]>(`
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
    const failure = await gpu.says<Failure>('return failure(load())', {
      FAKE_GPU_MEMORY: String(1 << 20),
    })
    assert.equal(failure.code, 'OUT_OF_MEMORY')
    assert.match(failure.message, /\d+ MiB on device 'vulkan:0'.* 1 MiB are free/)
  })

  it('is too small for a picture, and goes on with a smaller one', async () => {
    const [failure, small] = await gpu.says<[Failure, number]>(
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
    const needed = await gpu.says<Record<string, Failure & { stages: string[] }>>(`
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
      const difference = await gpu.says<number>(
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

  it('computes the text states of a prompt once, and its keys and values', async () => {
    await gpu.says('return devices()') // the test of the device computes, too
    const products = async (mixes: number, cacheBytes: number) => {
      const counts = await gpu.counts(`
        const mixer = await load({ cacheBytes: ${cacheBytes} })
        for (let i = 0; i < ${mixes}; i++) await mixer.mix({ ...request, seed: i })
        await mixer.dispose()`)
      return counts.get('MUL_MAT') ?? 0
    }
    const first = await products(1, 0)
    const ofSecond = async (cacheBytes: number) => (await products(2, cacheBytes)) - first
    const [none, states, all] = [await ofSecond(0), await ofSecond(1 << 18), await ofSecond(1 << 27)] // prettier-ignore
    assert.ok(0 < all && all < states && states < none, [all, states, none].join())
  })

  it('fails in the middle of a mix, which is an error and not the end', async () => {
    const [failure, code, width] = await gpu.says<[Failure, Failure, number]>(`
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
    const found = await gpu.says<{ usable: boolean; chosen: boolean; reason: string }>(
      "return (await devices()).find(({ id }) => id === 'vulkan:0')",
      { FAKE_GPU_FAILS: 'MUL_MAT', MAGICMIX_CACHE: path.join(gpu.folder, 'another-cache') },
    )
    assert.equal(found.usable, false)
    assert.equal(found.chosen, false)
    assert.match(found.reason, /failed to compute/)
  })

  it('ends a mix soon after it is cancelled', async () => {
    const [name, done] = await gpu.says<[string, number]>(`
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
    const found = await gpu.says<{ unet: string; difference: number }>(`
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
    const settings = { MAGICMIX_PREFLIGHT: '1', MAGICMIX_CACHE: path.join(gpu.folder, 'none') }
    const found = await gpu.says<{ reason: string; device: string }>(
      `
      const { reason } = (await devices()).find(({ backend }) => backend === 'vulkan')
      return { reason, device: (await load()).model.device }`,
      settings,
    )
    assert.match(found.reason, /itself the test/)
    assert.equal(found.device, 'cpu')
  })
})
