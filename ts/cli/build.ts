/** `magicmix build`: compiles the addon from the sources in the package. Nothing else ever does. */
import { execFileSync, spawn } from 'node:child_process'
import { constants, existsSync } from 'node:fs'
import { access, mkdir, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { MagicMixError } from '../errors.js'
import { nativeRoot } from '../package-files.js'
import { type GpuOption, adviceFor, requireTools } from './build-needs.js'
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

  // The old one stays until the new one is there, and loads.
  const made = path.join(nativeRoot, 'build-new')
  await prepare(made)
  requireTools(chosen, positionals)
  try {
    await compile({ chosen, options: positionals, out: made, jobs, signal })
    const release = path.join(made, 'Release')
    tryLoading(path.join(release, 'magicmix.node'))
    await replace(path.join(nativeRoot, 'build', 'Release'), release)
  } finally {
    await rm(made, { recursive: true, force: true })
  }
  execFileSync(process.execPath, [path.join(__dirname, 'main.js'), 'devices'], { stdio: 'inherit' })
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
  chosen: readonly GpuOption[]
  options: readonly string[]
  out: string
  jobs: number
  signal: AbortSignal
}

/** The compiler's output goes to standard error as it comes; its first error is in the message. */
async function compile({ chosen, options, out, jobs, signal }: Build): Promise<void> {
  const load = createRequire(__filename)
  const headers = path.dirname(load.resolve('node-addon-api/package.json'))
  const defines = [
    ...chosen.map((name) => `-DMAGICMIX_${name.toUpperCase()}=ON`),
    ...options,
    `-DMAGICMIX_NODE_ADDON_API=${headers}`,
  ]
  const args = [
    load.resolve('cmake-js/bin/cmake-js'),
    'compile',
    ...['--directory', nativeRoot],
    ...['--out', out],
    ...['--parallel', String(jobs)],
    ...defines.map((define) => `--CD${define.slice(2)}`),
  ]
  const { code, firstError } = await follow(args, signal)
  if (code === 0) return
  throw new MagicMixError(
    'BUILD_FAILED',
    `The build failed${firstError ? `: ${firstError}.` : ', see above.'}` +
      adviceFor(firstError, chosen) +
      ' What was installed before is unchanged.',
    { exitCode: code, firstError },
  )
}

function follow(
  args: readonly string[],
  signal: AbortSignal,
): Promise<{ code: number | null; firstError: string }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], signal })
  // CMake's first line is followed by the error itself.
  const errors: string[] = []
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on('line', (line) => {
      console.error(line)
      const isFirst = errors.length === 0 && isError(line)
      if (isFirst || (errors.length > 0 && errors.length < 5)) errors.push(line.trim())
    })
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      const isOfCMake = errors[0]?.startsWith('CMake Error')
      const lines = isOfCMake ? errors.filter(Boolean) : errors.slice(0, 1)
      resolve({ code, firstError: lines.join(' ').replace(/[.\s]+$/, '') })
    })
  })
}

function isError(line: string): boolean {
  return /\berror:|^CMake Error|\berror [A-Z]+\d+:|\bfatal\s*:|\bERR(OR|!) OMG/.test(line)
}

/** In a separate process: an addon built with a wrong option of the compiler can crash. */
function tryLoading(addon: string): void {
  try {
    execFileSync(process.execPath, ['-e', 'require(process.argv[1])', addon], { stdio: 'pipe' })
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer }
    const why = /^\w*Error: .*/m.exec(stderr?.toString() ?? '')?.[0] ?? (error as Error).message
    throw new MagicMixError(
      'BUILD_FAILED',
      `What was built cannot be loaded: ${why}. What was installed before is unchanged.`,
      { addon },
      { cause: error },
    )
  }
}

/** Puts `folder` in the place of `old`, which on Windows cannot be moved while it is in use. */
async function replace(old: string, folder: string): Promise<void> {
  const aside = `${old}-old`
  await mkdir(path.dirname(old), { recursive: true })
  await rm(aside, { recursive: true, force: true })
  try {
    if (existsSync(old)) await rename(old, aside)
  } catch (error) {
    throw new MagicMixError(
      'BUILD_FAILED',
      `${old} cannot be replaced (${(error as Error).message}); end the programs that use it`,
      { folder: old },
      { cause: error },
    )
  }
  await rename(folder, old)
  await rm(aside, { recursive: true, force: true })
}
