/**
 * `npm run cuda-package [LIBRARY]`: makes build/magicmix-cuda-PLATFORM-ARCH/, the package that brings
 * CUDA to those who want it, from what a build with -DMAGICMIX_CUDA=ON left. It has the version of
 * magicmix, since one ggml has to be in both.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const { platform, arch } = process
const main = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const name = `magicmix-cuda-${platform}-${arch}`
const file = `magicmix-cuda.${platform === 'win32' ? 'dll' : 'so'}`
const built = path.join(root, 'build', 'Release', 'magicmix.backends', file)
const library = path.resolve(process.argv[2] ?? built)
const folder = path.join(root, 'build', name)

if (!existsSync(library)) {
  console.error(`There is no ${library}: build with MAGICMIX_CMAKE=-DMAGICMIX_CUDA=ON first`)
  process.exit(1)
}
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
copyFileSync(library, path.join(folder, file))
if (platform === 'linux') execFileSync('strip', ['--strip-unneeded', path.join(folder, file)])
for (const each of ['LICENSE', 'THIRD-PARTY-NOTICES.md']) {
  copyFileSync(path.join(root, each), path.join(folder, each))
}
write('index.js', `module.exports = require('node:path').join(__dirname, '${file}')\n`)
write('README.md', readme())
write('package.json', `${JSON.stringify(manifest(), null, 2)}\n`)
console.log(folder)

function write(target, text) {
  writeFileSync(path.join(folder, target), text)
}

function manifest() {
  return {
    name,
    version: main.version,
    description: `magicmix's CUDA backend for ${platform}-${arch}`,
    license: main.license,
    type: 'commonjs',
    main: 'index.js',
    files: [file, 'THIRD-PARTY-NOTICES.md'],
    os: [platform],
    cpu: [arch],
    ...(platform === 'linux' ? { libc: ['glibc'] } : {}),
    peerDependencies: { magicmix: main.version },
  }
}

function readme() {
  return `# ${name}

CUDA for [magicmix](https://www.npmjs.com/package/magicmix) ${main.version}, on NVIDIA's GPUs:

\`\`\`sh
npm install magicmix@${main.version} ${name}@${main.version}
npx magicmix devices
\`\`\`

It needs NVIDIA's driver, and cuBLAS where the system looks for libraries. The magicmix package finds it
by its name; there is nothing to import.
`
}
