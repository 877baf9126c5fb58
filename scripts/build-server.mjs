#!/usr/bin/env node
/**
 * Builds packages/server/dist anew: the server, and the studio as the ES modules that browsers load. The package itself
 * has to be built before: its types are what the server is made of.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'packages', 'server')
rmSync(path.join(folder, 'dist'), { recursive: true, force: true })
compile('-p', 'tsconfig.build.json')
compile('-p', 'studio', '--noEmit', 'false')
const studio = path.join(folder, 'studio')
for (const file of readdirSync(studio).filter((name) => /\.(html|css|svg)$/.test(name))) {
  copyFileSync(path.join(studio, file), path.join(folder, 'dist', 'studio', file))
}

function compile(...options) {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const { status } = spawnSync(process.execPath, [tsc, ...options], {
    cwd: folder,
    stdio: 'inherit',
  })
  process.exitCode ||= status ?? 1
}
