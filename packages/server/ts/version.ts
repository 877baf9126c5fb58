/** Versions of the server and of the package that mixes. */
import { readFileSync } from 'node:fs'
import path from 'node:path'

export const versions = {
  server: versionIn(path.join(__dirname, '..', 'package.json')),
  magicmix: versionIn(require.resolve('magicmix/package.json')),
  node: process.versions.node,
}

function versionIn(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
