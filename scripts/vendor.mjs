/**
 * `npm pack` runs this: copies what `magicmix build` compiles into vendor/, of ggml only the backends
 * that can be asked for.
 */
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const source = path.join(root, 'node_modules', 'ggml-source', 'cpp', 'whisper.cpp')
const vendor = path.join(root, 'vendor')
const backends = ['ggml-cpu', 'ggml-cuda', 'ggml-metal', 'ggml-vulkan']

rmSync(vendor, { recursive: true, force: true })
mkdirSync(path.join(vendor, 'ggml', 'src'), { recursive: true })
copy('CMakeLists.txt')
copy('cmake')
copy('include')
for (const { name } of entriesOf('src').filter((entry) => entry.isFile())) copy(`src/${name}`)
for (const backend of backends) copy(`src/${backend}`)
cpSync(path.join(source, 'LICENSE'), path.join(vendor, 'ggml', 'LICENSE'))
cpSync(path.join(source, 'examples', 'json.hpp'), path.join(vendor, 'json.hpp'))

function entriesOf(folder) {
  return readdirSync(path.join(source, 'ggml', folder), { withFileTypes: true })
}

function copy(name) {
  const to = path.join(vendor, 'ggml', name)
  cpSync(path.join(source, 'ggml', name), to, { recursive: true })
}
