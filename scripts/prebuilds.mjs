/**
 * `npm run prebuilds`: puts the addon for this platform into prebuilds/, as prebuildify does it, and
 * the libraries of its backends beside it. What was built stays in build/, and is used again.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const { platform, arch } = process
const musl = platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
const libc = platform === 'linux' ? (musl ? 'musl' : 'glibc') : undefined
const folder = path.join(root, 'prebuilds', `${platform}-${arch}`)
const name = ['magicmix', libc].filter(Boolean).join('.')

rmSync(folder, { recursive: true, force: true })
packAddon()
packBackends()

function packAddon() {
  // prebuildify moves the file that was built; the checkout's own stays where it is.
  const built = path.join(root, 'build', 'Release', 'magicmix.node')
  const kept = path.join(root, 'build', 'magicmix.node.kept')
  const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js')
  const args = ['--napi', '--strip', '--target', process.versions.node]
  run(process.execPath, [prebuildify, ...args, ...(libc ? ['--tag-libc'] : [])], {
    PREBUILD_NODE_GYP: nodeGypShim(),
    MAGICMIX_KEEP: kept,
    ...(libc ? { PREBUILD_LIBC: libc } : {}),
  })
  cpSync(kept, built)
  rmSync(kept)
}

/** What prebuildify calls instead of node-gyp; Windows runs it through a shell, others as it is. */
function nodeGypShim() {
  const shim = path.join(root, 'scripts', 'compile.mjs')
  return platform === 'win32' ? `node "${shim}"` : shim
}

function packBackends() {
  const from = path.join(root, 'build', 'Release', 'magicmix.backends')
  const to = path.join(folder, `${name}.backends`)
  mkdirSync(to, { recursive: true })
  for (const file of readdirSync(from).filter((each) => /\.(so|dll)$/.test(each))) {
    const target = path.join(to, file)
    cpSync(path.join(from, file), target)
    if (platform !== 'win32') {
      chmodSync(target, 0o755)
      run('strip', platform === 'darwin' ? ['-Sx', target] : ['--strip-all', target])
    }
    if (file.startsWith('magicmix-vulkan')) compress(target)
  }
}

/** Its shaders resemble each other, but lie too far apart for gzip: 50 MB are 15 MB there, 7 MB here. */
function compress(file) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT } = constants
  const bytes = readFileSync(file)
  const params = {
    [BROTLI_PARAM_QUALITY]: 9,
    [BROTLI_PARAM_LGWIN]: 24,
    [BROTLI_PARAM_SIZE_HINT]: bytes.length,
  }
  writeFileSync(`${file}.br`, brotliCompressSync(bytes, { params }))
  rmSync(file)
}

function run(command, args, environment = {}) {
  const env = { ...process.env, ...environment }
  const { status, error } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
