import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

/** The JavaScript file of a command that a package in node_modules brings. */
export function tool(name, command = name) {
  const folder = createRequire(import.meta.url)
    .resolve.paths(name)
    .map((place) => path.join(place, name))
    .find((place) => existsSync(place))
  if (!folder) throw new Error(`${name} is not installed: npm install`)
  const { bin } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
  return path.join(folder, typeof bin === 'string' ? bin : bin[command])
}
