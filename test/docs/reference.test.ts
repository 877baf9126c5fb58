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

  it('has the figures of bench/README.md', async () => {
    const [readme, bench] = [
      cellsOf(await textOf('README.md')),
      cellsOf(await textOf('bench/README.md')),
    ]
    const told = (first: string) => {
      const row = readme.find(([, head]) => head === first)
      assert.ok(row, first)
      return row
        .slice(2, 5)
        .map((cell) => [...cell.matchAll(/[\d.]+(?= s)/g)].map(([n]) => Number(n)))
    }
    const rows = ['magicmix', 'diffusers 0', 'stable-diffusion.cpp'].map((name) =>
      bench.find(([, head, , , , whole]) => head?.startsWith(name) && whole?.endsWith(' s')),
    )
    const measured = rows.map((row) => row!.slice(2, 6).map((cell) => Number.parseFloat(cell)))
    const rounded = (seconds: number) => Number(seconds.toFixed(1))
    for (const [i, [encode, step, decode, whole]] of measured.entries()) {
      assert.deepEqual(told('step, 512 x 512, CPU')[i], [rounded(step!)])
      assert.deepEqual(told('encode; decode')[i], [rounded(encode!), rounded(decode!)])
      const [seconds] = told('30 steps with both')[i]!
      if (seconds !== undefined) assert.equal(seconds, whole)
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
