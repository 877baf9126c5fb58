/** docs/paper.md says where the paper is in the source and which test holds it, others name files: it is to stay true. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { packageRoot } from './support/package-root.js'

const read = (name: string) => readFileSync(path.join(packageRoot, name), 'utf8')

describe('the paper and the code', () => {
  const text = read('docs/paper.md').replace(/\s+/g, ' ')

  for (const name of ['docs/paper.md', 'docs/engine.md', 'SECURITY.md', 'CONTRIBUTING.md']) {
    it(`names files that are there: ${name}`, () => {
      const folders = 'cpp|ts|test|packages|scripts|bench|models|third_party|docs|\\.github|\\.ci'
      const file = new RegExp(`\`((?:(?:${folders})/[\\w./-]+|[A-Z]+\\.md))\``, 'g')
      const files = [...read(name).matchAll(file)].map(([, each = '']) => each)
      assert.ok(files.length > 5)
      const missing = files.filter((each) => !existsSync(path.join(packageRoot, each)))
      assert.deepEqual(missing, [])
    })
  }

  it('names functions that are in their files', () => {
    const named = [
      ...text.matchAll(/((?:`\w+`(?:, | and )?)+) (?:of `\w+` )?in `((?:cpp|ts)\/[^`]+)`/g),
    ]
    const missing = named.flatMap(([, names = '', file = '']) =>
      [...names.matchAll(/`(\w+)`/g)]
        .map(([, name = '']) => name)
        .filter((name) => !new RegExp(`\\b${name}\\b`).test(read(file)))
        .map((name) => `${name} in ${file}`),
    )
    assert.ok(named.length >= 12)
    assert.deepEqual(missing, [])
  })

  it('names tests that are in their files', () => {
    // `file`: _a title_, _another_
    const named = [...text.matchAll(/`(test\/[\w./-]+)`: ((?:_[^_]+_(?:, )?)+)/g)]
    const missing = named.flatMap(([, file = '', titles = '']) =>
      [...titles.matchAll(/_([^_]+)_/g)]
        .map(([, title = '']) => title)
        .filter((title) => !read(file).includes(title))
        .map((title) => `${file}: ${title}`),
    )
    assert.ok(named.length >= 20)
    assert.deepEqual(missing, [])
  })

  it('names sheets that the demo draws', () => {
    const sheets = [...text.matchAll(/`([\w]+\.png)`/g)].map(([, sheet = '']) => sheet)
    const drawn = read('ts/cli/demo-sheets.ts')
    assert.ok(sheets.length >= 8)
    assert.deepEqual(
      sheets.filter((sheet) => !drawn.includes(`'${sheet}'`)),
      [],
    )
  })
})
