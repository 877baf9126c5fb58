/** Which devices there are, and what becomes of those whose drivers are broken. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { MagicMix, MagicMixError, devices } from 'magicmix'
import type { Device } from 'magicmix'

import { packageRoot } from './support/package-root.js'
import { tinyOptions } from './support/programs.js'

const run = promisify(execFile)

describe('devices', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-devices-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('have the CPU among them, which can always be used', async () => {
    const found = await devices()
    const cpu = found.find(({ id }) => id === 'cpu')
    assert.ok(cpu?.usable)
    assert.equal(cpu.kind, 'cpu')
    assert.ok(cpu.totalMemory > 0 && cpu.freeMemory <= cpu.totalMemory)
    assert.equal(found.filter(({ chosen }) => chosen).length, 1)
  })

  it('are all listed, or why they are not', async () => {
    const found = await devices()
    for (const backend of ['cuda', 'metal', 'vulkan']) {
      const some = found.filter((device) => device.backend === backend)
      assert.ok(some.length > 0, `nothing about ${backend}`)
      for (const { usable, reason } of some) assert.ok(usable || reason.length > 0)
    }
  })

  it('are refused by name, never replaced by the CPU', async () => {
    const { device: _, ...options } = { device: '', ...(await tinyOptions()) }
    for (const device of ['cuda:7', 'gpu', 'metal', 'npu', 'vulkan:99']) {
      await assert.rejects(MagicMix.load({ ...options, device }), (error) => {
        assert.ok(error instanceof MagicMixError)
        assert.equal(error.code, 'DEVICE_UNAVAILABLE')
        assert.match(error.message, new RegExp(device))
        return true
      })
    }
  })

  /** What a process sees to which `library` is the Vulkan backend. */
  async function withLibrary(name: string, source: string): Promise<Device[]> {
    const place = path.join(folder, name)
    await mkdir(place)
    await writeFile(path.join(place, 'backend.c'), source)
    const target = path.join(place, 'magicmix-vulkan.so')
    await run('cc', ['-shared', '-fPIC', '-o', target, path.join(place, 'backend.c')])
    const program = `require(${JSON.stringify(packageRoot)}).devices()
      .then((found) => console.log(JSON.stringify(found)))`
    const { stdout } = await run(process.execPath, ['-e', program], {
      env: {
        ...process.env,
        MAGICMIX_BACKENDS: place,
        MAGICMIX_CACHE: path.join(place, 'cache'),
        VK_DRIVER_FILES: target, // as if there were a driver
      },
    })
    return JSON.parse(stdout) as Device[]
  }

  async function reasonWith(name: string, source: string): Promise<string> {
    const found = await withLibrary(name, source)
    assert.equal(found.find(({ chosen }) => chosen)?.id, 'cpu')
    const vulkan = found.filter(({ backend }) => backend === 'vulkan')
    assert.equal(vulkan.length, 1)
    assert.equal(vulkan[0]?.usable, false)
    return vulkan[0].reason
  }

  const entry = `
    #include <stdlib.h>
    const char *magicmix_backend_prepare(void *log) { return VERSION; }
    void *ggml_backend_init(void) { BODY; return 0; }`

  it('are rejected when their library aborts while it is loaded', async () => {
    const source = `#include <stdlib.h>
      __attribute__((constructor)) static void load(void) { abort(); }`
    assert.match(await reasonWith('aborts', source), /crashed \(SIGABRT\)/)
  })

  it('are rejected when their driver crashes as it is asked for devices', async () => {
    const source = entry.replace('VERSION', '"0.15.1"').replace('BODY', '*(volatile int *)0 = 1')
    assert.match(await reasonWith('crashes', source), /crashed \(SIGSEGV\)/)
  })

  it('are rejected when their driver ends the process', async () => {
    const source = entry.replace('VERSION', '"0.15.1"').replace('BODY', 'exit(3)')
    assert.match(await reasonWith('exits', source), /exit code 3/)
  })

  it('are rejected when their driver does not start', async () => {
    const source = entry.replace('VERSION', '"0.15.1"').replace('BODY', '')
    assert.match(await reasonWith('silent', source), /could not be initialised/)
  })

  it('are rejected when their library is of another version, or none at all', async () => {
    const other = entry.replace('VERSION', '"0.9.0"').replace('BODY', 'abort()')
    assert.match(await reasonWith('other', other), /has ggml 0\.9\.0/)
    assert.match(await reasonWith('none', 'int nothing;'), /not a backend/)
  })
})

describe('keepOnCpu', () => {
  it('keeps a part of the model on the CPU, where it is anyway without a GPU', async () => {
    const options = { ...(await tinyOptions()), device: 'cpu' }
    await using mixer = await MagicMix.load({ ...options, keepOnCpu: ['textEncoder', 'vae'] })
    assert.deepEqual(mixer.model.placement, { textEncoder: 'cpu', unet: 'cpu', vae: 'cpu' })
  })

  it('knows the parts', async () => {
    const wrong = { ...(await tinyOptions()), keepOnCpu: ['unet'] as never }
    await assert.rejects(MagicMix.load(wrong), { code: 'INVALID_ARGUMENT' })
  })
})
