#!/usr/bin/env node
/** Builds packages/server/dist anew. The package itself has to be built before: its types are what the server is made of. */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'packages', 'server')
rmSync(path.join(folder, 'dist'), { recursive: true, force: true })
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
  cwd: folder,
  stdio: 'inherit',
})
process.exitCode = status ?? 1
