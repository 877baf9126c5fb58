/** `magicmix build`: compiles the addon from the sources in the package. Nothing else ever does. */
import { execFileSync, spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, mkdir, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import path from 'node:path'

import { MagicMixError } from '../errors.js'
import { nativeRoot } from '../package-files.js'
import { type Arguments, type Command, UsageError, numberOption } from './command.js'

export const command: Command = {
  name: 'build',
  usage: 'build [options] [-- CMAKE OPTIONS]',
  summary: 'compile the addon from the sources in the package',
  about:
    'Compiles the addon, for this machine or with a GPU backend that the package does not bring, into\n' +
    "the package's own folder, where it is preferred from then on. Needs CMake 3.19 and a C++17\n" +
    'compiler; --cuda the CUDA toolkit; --vulkan glslc and the headers of Vulkan 1.4 and SPIR-V.',
  examples: [
    'magicmix build',
    'magicmix build --vulkan',
    'magicmix build --cuda -- -DCMAKE_CUDA_ARCHITECTURES=89',
  ],
  options: {
    cuda: { type: 'boolean', help: 'with the CUDA backend' },
    vulkan: { type: 'boolean', help: 'with the Vulkan backend' },
    metal: { type: 'boolean', help: 'with the Metal backend (default on a Mac)' },
    jobs: { type: 'string', short: 'j', value: 'N', help: 'compile N files at a time' },
  },
  run,
}

const backends = ['cuda', 'vulkan', 'metal'] as const

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const strange = positionals.find((option) => !option.startsWith('-D'))
  if (strange)
    throw new UsageError(`Expected options such as -DNAME=VALUE but received '${strange}'`)
  const jobs = numberOption(values, 'jobs') ?? availableParallelism()
  if (!Number.isInteger(jobs) || jobs < 1) throw new UsageError('Expected a number above 0 for -j')
  const chosen = backends.filter((backend) => values[backend])
  requireTools(chosen)

  // What works stays until the new one is there.
  const made = path.join(nativeRoot, 'build-new')
  await prepare(made)
  try {
    await compile(
      [...chosen.map((name) => `-DMAGICMIX_${name.toUpperCase()}=ON`), ...positionals],
      {
        out: made,
        jobs,
        signal,
      },
    )
    const release = path.join(nativeRoot, 'build', 'Release')
    await rm(release, { recursive: true, force: true })
    await mkdir(path.dirname(release), { recursive: true })
    await rename(path.join(made, 'Release'), release)
  } finally {
    await rm(made, { recursive: true, force: true })
  }
  execFileSync(process.execPath, [path.join(__dirname, 'main.js'), 'devices'], { stdio: 'inherit' })
}

/** Says what is missing before CMake says it in a hundred lines. */
function requireTools(chosen: readonly string[]): void {
  requireTool('cmake', 'CMake 3.19 or later', 'apt-get install cmake', 'brew install cmake')
  if (process.platform !== 'win32') {
    requireTool(
      process.env.CXX ?? 'c++',
      'a C++17 compiler',
      'apt-get install g++',
      'xcode-select --install',
    )
  }
  if (chosen.includes('cuda')) {
    requireTool(
      process.env.CUDACXX ?? 'nvcc',
      'the CUDA toolkit',
      'apt-get install nvidia-cuda-toolkit',
    )
  }
  if (chosen.includes('vulkan')) {
    requireTool(
      'glslc',
      "Vulkan's shader compiler",
      'apt-get install glslc libvulkan-dev spirv-headers',
    )
  }
}

function requireTool(program: string, what: string, linux: string, mac?: string): void {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
  } catch {
    const install = process.platform === 'darwin' ? mac : linux
    throw new MagicMixError(
      'BUILD_FAILED',
      `${what} is needed, but '${program}' is not on the PATH` +
        (install ? `. For example: ${install}` : ''),
      { program },
    )
  }
}

async function prepare(folder: string): Promise<void> {
  try {
    await access(nativeRoot, constants.W_OK)
    await rm(folder, { recursive: true, force: true })
  } catch (error) {
    throw new MagicMixError(
      'BUILD_FAILED',
      `The package's folder ${nativeRoot} cannot be written to (${(error as Error).message}); ` +
        'run this as the user who installed it',
      { folder: nativeRoot },
      { cause: error },
    )
  }
}

interface Build {
  out: string
  jobs: number
  signal: AbortSignal
}

/** The compiler's output goes to standard error as it comes. */
function compile(options: readonly string[], { out, jobs, signal }: Build): Promise<void> {
  const load = createRequire(__filename)
  const headers = path.dirname(load.resolve('node-addon-api/package.json'))
  const defines = [...options, `-DMAGICMIX_NODE_ADDON_API=${headers}`]
  const args = [
    load.resolve('cmake-js/bin/cmake-js'),
    'compile',
    ...['--directory', nativeRoot],
    ...['--out', out],
    ...['--parallel', String(jobs)],
    ...defines.map((define) => `--CD${define.slice(2)}`),
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 2, 2], signal })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) return resolve()
      const message =
        'The build failed: the first error above says why. The addon that was there is still there.'
      reject(new MagicMixError('BUILD_FAILED', message, { exitCode: code }))
    })
  })
}
