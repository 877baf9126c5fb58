/** GPUs on machines without one: what the build makes of gpu/fake_gpu.cpp, as Vulkan and as CUDA. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { packageRoot } from './package-root.js'
import { programOf } from './programs.js'

const run = promisify(execFile)

/** How the real ones are called; the fake ones are Linux's alone. */
type Backend = 'vulkan' | 'cuda'

/** A GPU for the tests of one `describe`. */
export class FakeGpu {
  /** Of the tests' own files; there is one while they run. */
  folder = ''
  private readonly library: string

  /** Called in a `describe`, whose tests are skipped on other systems. */
  constructor(private readonly backend: Backend) {
    this.library = path.join(packageRoot, 'build', `fake-${backend}`)
    const begin = () => this.begin()
    before(async function () {
      if (process.platform !== 'linux') this.skip()
      await begin()
    })
    after(() => rm(this.folder, { recursive: true, force: true }))
  }

  private async begin(): Promise<void> {
    const file = path.join(this.library, `magicmix-${this.backend}.so`)
    assert.ok(existsSync(file), `${file} is not built: npm run build:native`)
    this.folder = await mkdtemp(path.join(tmpdir(), 'magicmix-gpu-'))
  }

  /** What a program with this body, which gives a value, says of a mixer on the GPU. */
  async says<T>(body: string, settings: Record<string, string> = {}): Promise<T> {
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
      env: { ...this.env(), ...settings },
    })
    return JSON.parse(stdout) as T
  }

  /**
   * How often the GPU computed each of ggml's operations for a program with this body, and for the
   * test of the device before it.
   */
  async counts(body: string): Promise<Map<string, number>> {
    const log = path.join(this.folder, 'counted')
    await rm(log, { force: true })
    await this.says(`${body}; return null`, { FAKE_GPU_LOG: log })
    return countsIn(log)
  }

  /**
   * Runs the golden numbers of `npm run test:gpu`, which have to pass; gives ggml's names of the
   * operations that the GPU computed.
   */
  async passesGolden(settings: Record<string, string>): Promise<string[]> {
    const log = path.join(this.folder, 'computed')
    await rm(log, { force: true })
    const mocha = path.join(packageRoot, 'node_modules', 'mocha', 'bin', 'mocha.js')
    const own = { MAGICMIX_TEST_DEVICE: `${this.backend}:0`, FAKE_GPU_LOG: log }
    const { stdout } = await run(process.execPath, [mocha, '--config', '.mocharc.gpu.json'], {
      cwd: packageRoot,
      env: { ...this.env(), ...own, ...settings },
    }).catch((error: { stdout: string }) => assert.fail(error.stdout))
    assert.ok(Number(/(\d+) passing/.exec(stdout)?.[1]) > 20, stdout)
    return [...(await countsIn(log)).keys()]
  }

  private env(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      ...this.driver(),
      MAGICMIX_BACKENDS: this.library,
      MAGICMIX_CACHE: path.join(this.folder, 'cache'),
    }
  }

  /** What makes the addon look for the devices of a driver that is not there. */
  private driver(): NodeJS.ProcessEnv {
    if (this.backend === 'vulkan') return { VK_DRIVER_FILES: this.library }
    const file = path.join(packageRoot, 'test', 'support', 'nvidia-driver.cjs')
    const given = process.env['NODE_OPTIONS'] ?? ''
    return { NODE_OPTIONS: `${given} --require ${JSON.stringify(file)}` }
  }
}

async function countsIn(log: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const line of (await readFile(log, 'utf8')).trimEnd().split('\n')) {
    const [name = '', times] = line.split(' ')
    counts.set(name, (counts.get(name) ?? 0) + Number(times))
  }
  return counts
}
