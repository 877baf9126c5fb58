/** Pages that are made from the program's own tables: written, or with --check only compared. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import prettier from 'prettier'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const require = createRequire(import.meta.url)

/** A module of dist/. */
export const built = (file) => require(path.join(root, 'dist', file))

/** A module of packages/server/dist/. */
export const builtServer = (file) => require(path.join(root, 'packages', 'server', 'dist', file))

/** A row of a Markdown table. */
export const row = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

/** A Markdown table. */
export function table(heads, rows) {
  return [heads, heads.map(() => '---'), ...rows].map(row).join('\n')
}

/** Writes the page docs/reference/`name`; with --check says whether it is up to date. `command` makes it. */
export async function page(name, text, command) {
  const file = path.join(root, 'docs', 'reference', name)
  const options = { ...(await prettier.resolveConfig(file)), parser: 'markdown' }
  const formatted = await prettier.format(text, options)
  if (!process.argv.includes('--check')) {
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, formatted)
  } else if (!existsSync(file) || readFileSync(file, 'utf8') !== formatted) {
    console.error(`docs/reference/${name} is not up to date: npm run ${command}`)
    process.exitCode = 1
  }
}
