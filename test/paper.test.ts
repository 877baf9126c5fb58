/** docs/paper.md says where the paper is in the source and which test holds it: it is to stay true. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { packageRoot } from './support/package-root.js'

const read = (name: string) => readFileSync(path.join(packageRoot, name), 'utf8')

describe('the paper and the code', () => {
  const text = read('docs/paper.md').replace(/\s+/g, ' ')

  it('names files that are there', () => {
    const files = [...text.matchAll(/`((?:cpp|ts|test)\/[\w./-]+)`/g)].map(([, file = '']) => file)
    assert.ok(files.length > 30)
    assert.deepEqual(
      [...new Set(files)].filter((file) => !existsSync(path.join(packageRoot, file))),
      [],
    )
  })

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
