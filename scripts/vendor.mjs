/**
 * `npm pack` runs this: copies what `magicmix build` compiles into vendor/, of ggml only the backends
 * that can be asked for.
 */
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'

import { ggmlEntries, jsonHeader, root, tree } from './third-party.mjs'

const vendor = path.join(root, 'vendor')

rmSync(vendor, { recursive: true, force: true })
mkdirSync(path.join(vendor, 'ggml', 'src'), { recursive: true })
for (const name of ggmlEntries()) {
  cpSync(path.join(tree, 'ggml', name), path.join(vendor, 'ggml', name), { recursive: true })
}
cpSync(path.join(tree, 'LICENSE'), path.join(vendor, 'ggml', 'LICENSE'))
cpSync(jsonHeader, path.join(vendor, 'json.hpp'))
