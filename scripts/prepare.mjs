/**
 * `npm install` runs this: builds everything. npm prepares the root a first time as what packages/server links to, without
 * showing what it does; once is enough.
 */
import { spawnSync } from 'node:child_process'

if (process.env.npm_package_dev === undefined) {
  const { status } = spawnSync('npm', ['run', 'build'], {
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  process.exitCode = status ?? 1
}
