/**
 * Finds and loads the native addon: the one that was built here, or the one that the package brings
 * for this platform. Nothing is compiled, whatever happens: `magicmix build` does that, on purpose.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

import { MagicMixError } from '../errors.js'

/** The addon, and where it lies. */
export interface LoadedAddon {
  exports: unknown
  file: string
}

interface Attempt {
  file: string
  problem: string
}

/** The package's addon on this machine; `root` is the package's folder. */
export function loadAddon(root: string): LoadedAddon {
  const attempts: Attempt[] = []
  for (const file of candidates(root)) {
    try {
      return { exports: createRequire(file)(file), file }
    } catch (error) {
      attempts.push({ file, problem: problemOf(error) })
    }
  }
  throw unavailable(root, attempts)
}

/** The file that node-gyp-build's resolver finds, and the prebuilt one, if that is another. */
function candidates(root: string): string[] {
  const name = ['magicmix', libc, 'node'].filter(Boolean).join('.')
  const prebuilt = path.join(root, 'prebuilds', platform, name)
  try {
    return [...new Set([resolver().resolve(root), prebuilt])]
  } catch {
    return [path.join(root, 'build', 'Release', 'magicmix.node'), prebuilt]
  }
}

/**
 * node-gyp-build takes every system but Alpine for one with glibc, unless LIBC says something else
 * when it is loaded. Other packages use it, too, and may have loaded it already.
 */
function resolver(): typeof import('node-gyp-build') {
  const load = createRequire(__filename)
  if (libc !== 'musl' || process.env.LIBC) return load('node-gyp-build') as never
  const file = load.resolve('node-gyp-build')
  const implementation = load.resolve('node-gyp-build/node-gyp-build.js')
  for (const cached of [file, implementation]) Reflect.deleteProperty(load.cache, cached)
  process.env.LIBC = libc
  try {
    return load('node-gyp-build') as never
  } finally {
    delete process.env.LIBC
  }
}

// -------------------------------------------------------------------------------------------------
// The platform

export const platform = `${process.platform}-${process.arch}`

const glibcVersion = reportHeader()?.glibcVersionRuntime

/** Without the network, whose part of a report asks DNS about every open socket. */
function reportHeader(): { glibcVersionRuntime?: string } | undefined {
  const report = process.report as
    (NonNullable<typeof process.report> & { excludeNetwork?: boolean }) | undefined
  if (!report) return undefined
  const { excludeNetwork } = report
  report.excludeNetwork = true
  try {
    return (report.getReport() as { header?: { glibcVersionRuntime?: string } }).header
  } finally {
    report.excludeNetwork = excludeNetwork ?? false
  }
}

/** 'glibc' or 'musl' on Linux, where a program without a version of glibc runs on musl. */
export const libc = process.platform !== 'linux' ? '' : glibcVersion ? 'glibc' : 'musl'

function describePlatform(): string {
  const system = libc ? `${platform} (${[libc, glibcVersion].filter(Boolean).join(' ')})` : platform
  return `${system} with Node ${process.versions.node} (Node-API ${process.versions.napi ?? 'none'})`
}

// -------------------------------------------------------------------------------------------------
// When there is none

function problemOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'MODULE_NOT_FOUND' ? 'not there' : message.trim().replace(/\n.*/s, '')
}

function unavailable(root: string, attempts: Attempt[]): MagicMixError {
  const found = prebuiltFor(root)
  const lines = [
    `The native part of magicmix cannot be loaded on ${describePlatform()}.`,
    'Tried:',
    ...attempts.map(({ file, problem }) => `  ${path.relative(root, file)}: ${problem}`),
    `Prebuilt in ${path.join(root, 'prebuilds')}: ${found.join(', ') || 'nothing'}`,
    'What may help:',
    ...remedies(root, attempts, found).map((remedy) => `  - ${remedy}`),
  ]
  const { versions } = process
  const details = { platform, libc, node: versions.node, attempts, prebuilt: found }
  return new MagicMixError('ADDON_UNAVAILABLE', lines.join('\n'), details)
}

/** The platforms of the package's prebuilt addons: 'linux-x64 (glibc)'. */
function prebuiltFor(root: string): string[] {
  const folder = path.join(root, 'prebuilds')
  return entries(folder).flatMap((name) =>
    entries(path.join(folder, name))
      .filter((file) => file.endsWith('.node'))
      .map((file) => {
        const tag = /\.(glibc|musl)\.node$/.exec(file)?.[1]
        return tag ? `${name} (${tag})` : name
      }),
  )
}

/** A bundler leaves `__dirname` of another folder. */
function isPackage(root: string): boolean {
  try {
    const text = readFileSync(path.join(root, 'package.json'), 'utf8')
    return (JSON.parse(text) as { name?: unknown }).name === 'magicmix'
  } catch {
    return false
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function remedies(root: string, attempts: Attempt[], found: string[]): string[] {
  if (!isPackage(root)) {
    return [
      'The package was bundled into another file, away from its own: keep it external ' +
        "(Next: serverExternalPackages: ['magicmix']; webpack: externals; vite: ssr.external; " +
        'esbuild: --external:magicmix)',
    ]
  }
  const problems = attempts.map(({ problem }) => problem).join('\n')
  const here = libc ? `${platform} (${libc})` : platform
  const advice: string[] = []
  if (Number(process.versions.napi ?? 0) < 8) {
    advice.push('Use Node 20.17 or later: this one is too old.')
  }
  if (/no-addons|ERR_DLOPEN_DISABLED|Cannot load native addon/i.test(problems)) {
    advice.push(
      "Run without --no-addons; with Node's permission model, add --allow-addons (and " +
        '--allow-worker --allow-child-process --allow-fs-read=* for the rest).',
    )
  }
  const glibc = /version [`'](GLIBC_[\d.]+)'/.exec(problems)?.[1]
  if (glibc) {
    advice.push(`Use a system with ${glibc.replace('_', ' ').toLowerCase()} or later.`)
  }
  if (/libstdc\+\+/.test(problems)) {
    advice.push(
      `Install the C++ runtime: ${libc === 'musl' ? 'apk add libstdc++' : 'apt-get install libstdc++6, or dnf install libstdc++'}.`,
    )
  }
  if (found.includes(here)) {
    advice.push('Install the package again: its file for this platform may be damaged.')
  } else if (found.length > 0) {
    advice.push(`There is no prebuilt addon for ${here}.`)
  }
  advice.push(
    'Build it from the sources in the package, with CMake and a C++17 compiler: npx magicmix build',
    'In a checkout of the repository: npm install',
  )
  return advice
}
