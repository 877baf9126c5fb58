#!/usr/bin/env node
/**
 * Builds the addon with cmake-js. Options of CMake come from MAGICMIX_CMAKE: "-DMAGICMIX_VULKAN=ON ...".
 * It also stands in for node-gyp, which prebuildify always runs: node-gyp's arguments are not looked
 * at, and a copy of the addon is kept where MAGICMIX_KEEP says.
 */
import { spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { createRequire } from 'node:module'

const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js')
const options = (process.env.MAGICMIX_CMAKE ?? '').split(/\s+/).filter(Boolean)
const defines = options.map((option) => option.replace(/^-D/, '--CD'))
const { status } = spawnSync(process.execPath, [cmakeJs, 'compile', ...defines], {
  stdio: 'inherit',
})
if (status === 0 && process.env.MAGICMIX_KEEP) {
  cpSync('build/Release/magicmix.node', process.env.MAGICMIX_KEEP)
}
process.exitCode = status ?? 1
