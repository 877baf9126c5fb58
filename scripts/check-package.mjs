/**
 * Checks what would be published: `node scripts/check-package.mjs [TARBALL] [--all]`. Every expected
 * file has to be in the tarball and nothing else, and npm has to accept its size. Without a tarball
 * it packs one. `--all`: prebuilt addons for every platform, as a release has them; else for this one.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const mostBytes = 60e6
const cpu = { x64: ['avx2', 'avx512', 'avx512bf16'], arm64: ['dotprod', 'fp16'] }
const cpuWindows = ['avx2', 'avx512']

const everyPlatform = [
  ...elf('linux-x64', 'glibc', cpu.x64, ['vulkan.so.br']),
  ...elf('linux-x64', 'musl', cpu.x64),
  ...elf('linux-arm64', 'glibc', cpu.arm64),
  ...elf('linux-arm64', 'musl', cpu.arm64),
  ...['darwin-x64', 'darwin-arm64'].flatMap((platform) => [
    `prebuilds/${platform}/magicmix.node`,
    `prebuilds/${platform}/magicmix.backends/magicmix-metal.so`,
  ]),
  'prebuilds/win32-x64/magicmix.node',
  ...cpuWindows.map((name) => `prebuilds/win32-x64/magicmix.backends/magicmix-cpu-${name}.dll`),
  'prebuilds/win32-x64/magicmix.backends/magicmix-vulkan.dll.br',
]

function elf(platform, libc, variants, more = []) {
  const name = `prebuilds/${platform}/magicmix.${libc}`
  return [
    `${name}.node`,
    ...variants.map((variant) => `${name}.backends/magicmix-cpu-${variant}.so`),
    ...more.map((file) => `${name}.backends/magicmix-${file}`),
  ]
}

const expected = [
  ...['package.json', 'README.md', 'LICENSE', 'THIRD-PARTY-NOTICES.md', 'CHANGELOG.md'],
  ...['ARCHITECTURE.md', 'CMakeLists.txt', 'sbom.cdx.json'],
  ...['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'dist/clip-merges.txt'],
  'dist/devices/preflight-child.js',
  ...['models/README.md', 'models/glyphs.png', 'models/world-128/model_index.json'],
  ...['text_encoder/model', 'unet/diffusion_pytorch_model', 'vae/diffusion_pytorch_model'].map(
    (name) => `models/world-128/${name}.safetensors`,
  ),
  'models/world-128-lcm/pytorch_lora_weights.safetensors',
  'models/world-128-tiny/diffusion_pytorch_model.safetensors',
  ...[
    'binding/addon.cpp',
    'cpp/engine/engine.h',
    'cpp/kernels/instruction_sets.cmake',
    'third_party/ggml.cmake',
    'third_party/backends.cmake',
  ],
  ...['vendor/json.hpp', 'vendor/ggml/CMakeLists.txt', 'vendor/ggml/LICENSE'],
  ...['cpu', 'cuda', 'metal', 'vulkan'].map(
    (name) => `vendor/ggml/src/ggml-${name}/CMakeLists.txt`,
  ),
  ...['script', 'server', 'worker-pool'].map((name) => `examples/${name}.mjs`),
]

const allowed = [
  /^(package\.json|README\.md|LICENSE|THIRD-PARTY-NOTICES\.md|CHANGELOG\.md|ARCHITECTURE\.md)$/,
  /^(CMakeLists\.txt|sbom\.cdx\.json)$/,
  /^dist\/[\w/-]+\.(js|d\.ts)$|^dist\/clip-merges\.txt$/,
  /^(binding|cpp)\/[\w/-]+\.(cpp|h)$/,
  /^cpp\/cuda\/\w+\.cu$/,
  /^cpp\/kernels\/instruction_sets\.cmake$/,
  /^third_party\/[\w-]+\.(cmake|cpp|map|md|sh)$/,
  /^models\/(README\.md|glyphs\.png|layouts\/[\w-]+\.png|world-128(-lcm|-tiny)?\/[\w/]+\.(json|safetensors))$/,
  /^vendor\/(json\.hpp|ggml\/.+)$/,
  /^examples\/[\w-]+\.(mjs|md)$/,
]

const args = process.argv.slice(2)
const wanted = args.includes('--all') ? everyPlatform : everyPlatform.filter(isForThisPlatform)
check(args.find((arg) => !arg.startsWith('--')))

function isForThisPlatform(file) {
  const glibc = process.report.getReport().header.glibcVersionRuntime
  const libc = process.platform !== 'linux' ? '' : glibc ? '.glibc.' : '.musl.'
  const here = file.startsWith(`prebuilds/${process.platform}-${process.arch}/`)
  return here && file.includes(libc)
}

function check(given) {
  const place = mkdtempSync(path.join(tmpdir(), 'magicmix-check-'))
  try {
    const tarball = given ? path.resolve(given) : pack(place)
    execFileSync('tar', ['-xzf', tarball, '-C', place])
    const files = filesOf(path.join(place, 'package'))
    report(files, statSync(tarball).size)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function pack(place) {
  const command = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const stdio = ['ignore', 'ignore', 'inherit']
  const options = { cwd: root, stdio, shell: process.platform === 'win32' }
  execFileSync(command, ['pack', '--silent', '--pack-destination', place], options)
  return path.join(
    place,
    readdirSync(place).find((name) => name.endsWith('.tgz')),
  )
}

function filesOf(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = path.join(entry.parentPath ?? entry.path, entry.name)
      const name = path.relative(folder, file).split(path.sep).join('/')
      return { name, bytes: statSync(file).size }
    })
}

function report(files, packed) {
  const names = new Set(files.map(({ name }) => name))
  const isAllowed = (name) =>
    everyPlatform.includes(name) || allowed.some((pattern) => pattern.test(name))
  const problems = [
    ...[...expected, ...wanted]
      .filter((name) => !names.has(name))
      .map((name) => `missing: ${name}`),
    ...[...names].filter((name) => !isAllowed(name)).map((name) => `should not be there: ${name}`),
    ...(packed > mostBytes
      ? [`too large: ${megabytes(packed)}, allowed ${megabytes(mostBytes)}`]
      : []),
  ]
  const parts = new Map()
  for (const { name, bytes } of files) {
    const [top, second] = name.split('/')
    const part = top === 'prebuilds' ? `${top}/${second}` : name.includes('/') ? top : '(top)'
    parts.set(part, (parts.get(part) ?? 0) + bytes)
  }
  for (const [part, bytes] of parts) console.log(`${part.padEnd(22)}${megabytes(bytes)}`)
  const unpacked = files.reduce((sum, { bytes }) => sum + bytes, 0)
  console.log(`${files.length} files, ${megabytes(packed)} packed, ${megabytes(unpacked)} unpacked`)
  for (const problem of problems) console.error(problem)
  process.exitCode = problems.length > 0 ? 1 : 0
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
