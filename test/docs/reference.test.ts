/** What stands in hand-written pages about the code, compared with the code. */
import assert from 'node:assert/strict'
import { readFile, readdir } from 'node:fs/promises'
import path from 'node:path'

import { packageRoot } from '../support/package-root.js'

const textOf = (name: string) => readFile(path.join(packageRoot, name), 'utf8')
const cellsOf = (text: string) =>
  text.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))

describe('the README', () => {
  it('is short', async () => {
    const lines = (await textOf('README.md')).trimEnd().split('\n')
    assert.ok(lines.length <= 120, `${lines.length} lines`)
  })

  it('leads to every guide', async () => {
    const readme = await textOf('README.md')
    const names = await readdir(path.join(packageRoot, 'docs', 'guides'))
    const guides = names.filter((name) => name !== 'first-mix.md') // which is the README's own subject
    assert.deepEqual(
      guides.filter((name) => !readme.includes(`docs/guides/${name}`)),
      [],
    )
  })

  it('has figures of bench/README.md alone', async () => {
    const readme = cellsOf(await textOf('README.md'))
    const bench = cellsOf(await textOf('bench/README.md'))
    const columns = { encode: 2, step: 3, decode: 4, whole: 5 }
    /** Seconds that were measured of a program, in a column of its tables. */
    const measured = (program: string, column: keyof typeof columns) =>
      bench
        .filter(([, head = '', , , , whole = '']) => head.startsWith(program) && / s$/.test(whole))
        .map((row) => Number.parseFloat(row[columns[column]]!))
    const rows: [head: string, ...columns: (keyof typeof columns)[]][] = [
      ['step, 512 x 512, CPU', 'step'],
      ['encode; decode', 'encode', 'decode'],
      ['30 steps with both', 'whole'],
    ]
    for (const [head, ...names] of rows) {
      const row = readme.find(([, first]) => first === head)
      assert.ok(row, head)
      for (const [i, program] of ['magicmix', 'diffusers', 'stable-diffusion.cpp'].entries()) {
        const all = names.flatMap((name) => measured(program, name))
        const told = row[i + 2]!.matchAll(/(\d+)(\.\d+)?(?= s\b| to| min)(?:.*?( min))?/g)
        let count = 0
        for (const [, whole, part = '', minutes] of told) {
          const figures = all.map((s) =>
            (minutes ? s / 60 : s).toFixed(Math.max(0, part.length - 1)),
          )
          assert.ok(figures.includes(`${whole}${part}`), `${head}, ${program}: ${whole}${part}`)
          count++
        }
        assert.ok(count >= names.length, `${head}, ${program}`)
      }
    }
  })
})

describe('the page of environment variables', () => {
  it('has those that the code reads', async () => {
    const page = await textOf('docs/reference/environment.md')
    const told = new Set([...page.matchAll(/`([A-Z][A-Z0-9_]+)`/g)].map(([, name]) => name))
    const folders = ['ts', 'packages/server/ts']
    const read = new Set<string>()
    for (const folder of folders) {
      for (const name of await readdir(path.join(packageRoot, folder), { recursive: true })) {
        if (!name.endsWith('.ts')) continue
        const code = await textOf(path.join(folder, name))
        for (const [, one, several] of code.matchAll(
          /process\.env\.(\w+)|const \{([^}]+)\} = process\.env/g,
        )) {
          for (const each of (one ?? several!).split(',')) read.add(each.trim())
        }
      }
    }
    // Of node-gyp-build, and where a system says that its drivers are.
    const ofOthers = ['LIBC', 'XDG_DATA_HOME', 'XDG_DATA_DIRS']
    for (const name of read)
      if (!/^[A-Z][A-Z0-9_]+$/.test(name) || ofOthers.includes(name)) read.delete(name)
    assert.ok(read.size > 12)
    assert.deepEqual(
      [...read].filter((name) => !told.has(name)),
      [],
    )
  })
})
