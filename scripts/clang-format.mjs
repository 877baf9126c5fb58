// Formats the C++ sources, or with `--check` lists those that are not formatted and fails.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const { getNativeBinary } = createRequire(import.meta.url)('clang-format')
const check = process.argv.includes('--check')

const sources = ['cpp', 'binding', 'test', 'bench'].flatMap((folder) =>
  readdirSync(path.join(root, folder), { recursive: true })
    .filter((name) => /\.(h|cpp|cu)$/.test(name) && !name.includes('build'))
    .map((name) => path.join(folder, name)),
)

const unformatted = sources.sort().filter((source) => {
  const file = path.join(root, source)
  const before = readFileSync(file, 'utf8')
  const after = execFileSync(getNativeBinary(), ['--style=file', file], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (after !== before && !check) writeFileSync(file, after)
  return after !== before
})

if (check && unformatted.length > 0) {
  console.error(`Not formatted (npm run format):\n${unformatted.join('\n')}`)
  process.exit(1)
}
