/** The share of the machine that a process uses: affinity, containers, MAGICMIX_THREADS. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { MagicMix } from 'magicmix'

import { native } from './support/native.js'
import { programOf, tinyOptions } from './support/programs.js'
import { coded } from './support/refusals.js'

const run = promisify(execFile)
const gibibyte = 2 ** 30

describe('the share of the machine', function () {
  if (process.platform !== 'linux') return
  let root: string
  let here: number // by affinity
  before(async () => (here = Number((await run('nproc', [])).stdout)))
  beforeEach(async () => (root = await mkdtemp(path.join(tmpdir(), 'magicmix-machine-'))))
  afterEach(() => rm(root, { recursive: true }))

  /** Files under a root of their own, as the kernel shows them. */
  async function system(files: Record<string, string>) {
    const all = { 'proc/meminfo': 'MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n', ...files }
    for (const [name, text] of Object.entries(all)) {
      const file = path.join(root, name)
      await mkdir(path.dirname(file), { recursive: true })
      await writeFile(file, text)
    }
    return native.machine(root)
  }

  it('is all of it without limits', async () => {
    assert.deepEqual(await system({}), { cores: here, memory: 16 * gibibyte })
    const unlimited = await system({
      'proc/self/cgroup': '0::/\n',
      'sys/fs/cgroup/cpu.max': 'max 100000\n',
      'sys/fs/cgroup/memory.max': 'max\n',
      'sys/fs/cgroup/memory.current': '1000\n',
    })
    assert.deepEqual(unlimited, { cores: here, memory: 16 * gibibyte })
  })

  it('follows a cgroup of version 2, and those above it', async () => {
    const share = await system({
      'proc/self/cgroup': '0::/outer/inner\n',
      'sys/fs/cgroup/outer/cpu.max': '150000 100000\n',
      'sys/fs/cgroup/outer/inner/memory.max': `${2 * gibibyte}\n`,
      'sys/fs/cgroup/outer/inner/memory.current': `${gibibyte}\n`,
      'sys/fs/cgroup/outer/inner/memory.stat': `anon 5\ninactive_file ${gibibyte / 2}\n`,
    })
    assert.deepEqual(share, { cores: 1, memory: 1.5 * gibibyte })
  })

  it('finds the limits at the top inside of a container', async () => {
    const share = await system({
      'proc/self/cgroup': '0::/docker/0123456789ab\n',
      'sys/fs/cgroup/cpu.max': '50000 100000\n',
      'sys/fs/cgroup/memory.max': `${gibibyte}\n`,
      'sys/fs/cgroup/memory.current': `${2 * gibibyte}\n`,
    })
    assert.deepEqual(share, { cores: 1, memory: 1 })
  })

  it('follows cgroups of version 1', async () => {
    const share = await system({
      'proc/self/cgroup': '5:memory:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/a\n',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us': '100000\n',
      'sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/memory/a/memory.limit_in_bytes': `${4 * gibibyte}\n`,
      'sys/fs/cgroup/memory/a/memory.usage_in_bytes': `${gibibyte}\n`,
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/memory/memory.usage_in_bytes': '1\n',
    })
    assert.deepEqual(share, { cores: 1, memory: 3 * gibibyte })
  })

  /** Threads of a mixer in a process of its own. */
  async function threadsWith(environment: object, command: string[] = []): Promise<number> {
    const { threads, ...options } = await tinyOptions()
    const program =
      (await programOf('')) +
      `
      MagicMix.load(${JSON.stringify(options)}).then(async (mixer) => {
        console.log(mixer.model.threads)
        await mixer.dispose()
      })`
    const [file = '', ...args] = [...command, process.execPath, '-e', program]
    const env = { ...process.env, MAGICMIX_THREADS: '', ...environment }
    return Number((await run(file, args, { env })).stdout)
  }

  it('decides how many threads a mixer has', async () => {
    assert.equal(await threadsWith({}, ['taskset', '-c', '0']), 1)
    assert.equal(await threadsWith({ MAGICMIX_THREADS: '1' }), 1)
    assert.equal(await threadsWith({}), native.machine('').cores)
  })

  it('is refused if MAGICMIX_THREADS is no number of threads', async () => {
    const { threads, ...options } = await tinyOptions()
    process.env.MAGICMIX_THREADS = 'many'
    try {
      await assert.rejects(
        MagicMix.load(options),
        coded('INVALID_ARGUMENT', /integer between 1 and 1024 for MAGICMIX_THREADS/),
      )
    } finally {
      delete process.env.MAGICMIX_THREADS
    }
  })
})
