/** The pictures of the documentation: each is there, is made by scripts/docs-pictures.ts, and carries a recipe. */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'

import { type Recipe, readRecipe, recipe } from 'magicmix'
import sharp from 'sharp'

import { sheets } from '../../scripts/docs-sheets.js'
import { packageRoot } from '../support/package-root.js'
import { pages } from '../support/snippets.js'

describe('the pictures of the documentation', () => {
  const folder = path.join('docs', 'pictures')
  const there = readdirSync(path.join(packageRoot, folder)).sort()
  const shown = pages().flatMap((page) => {
    const text = readFileSync(path.join(packageRoot, page), 'utf8')
    const pictures = text.matchAll(/!\[([^\]]*)\]\(([^)\s]+)\)|<img[^>]* src="([^"]+)"/g)
    return [...pictures].map(([, alt, source, src]) => ({
      ...{ page, alt },
      file: path.join(path.dirname(page), (source ?? src)!),
    }))
  })

  it('are there where a page shows one, and say what they show', () => {
    assert.ok(shown.length > 20)
    const files = new Set(there.map((name) => path.join(folder, name)))
    for (const { page, alt, file } of shown) {
      assert.ok(files.has(file), `${page} shows ${file}`)
      assert.ok(alt === undefined || alt.length > 20, `${file} says '${alt}'`)
    }
  })

  it('are those that `npm run docs:pictures` makes, beside drawings made by hand', () => {
    const made = Object.keys(sheets).map((name) => `${name}.webp`)
    assert.deepEqual(
      there,
      [...made, 'engine-attention.svg', 'engine-product.svg', 'mixing.svg'].sort(),
    )
    const pagesWith = new Set(shown.map(({ file }) => path.basename(file)))
    assert.deepEqual(
      there.filter((name) => !pagesWith.has(name)),
      [],
      'no page shows them',
    )
  })

  it('begin every guide', () => {
    for (const page of pages().filter((name) => name.startsWith(path.join('docs', 'guides')))) {
      const text = readFileSync(path.join(packageRoot, page), 'utf8')
      assert.match(text, /^# .*\n\n!\[/, page)
    }
  })

  it('are small', () => {
    const sizes = there.map((name) => statSync(path.join(packageRoot, folder, name)).size)
    for (const [i, size] of sizes.entries()) assert.ok(size < 120_000, `${there[i]}: ${size} bytes`)
    assert.ok(sizes.reduce((sum, size) => sum + size, 0) < 1_500_000)
  })

  it('carry the recipe of their last mix, and what is on the sheet', async () => {
    for (const [name, sheet] of Object.entries(sheets)) {
      const file = path.join(packageRoot, folder, `${name}.webp`)
      const { request, model } = await readRecipe(file)
      assert.equal(model.family, 'sd1', name)
      const last = sheet.rows
        .flatMap(({ cells }) => cells)
        .flatMap((cell) => ('mix' in cell ? [cell.mix] : []))
        .at(-1)!
      const told = ({ nu, kMin, kMax, seed, content, attention }: Recipe) => ({
        ...{ nu, kMin, kMax, seed, content, attention },
      })
      assert.deepEqual(told(request), told(recipe(last)), name)

      const { xmp } = await sharp(file).metadata()
      const text = /<docs:sheet [^>]*>([^<]*)</.exec(xmp!.toString())![1]!
      const plain = text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
      const drawn = JSON.parse(plain) as typeof sheet
      assert.deepEqual([drawn.title, drawn.columns], [sheet.title, sheet.columns], name)
      assert.deepEqual(
        drawn.rows.map(({ label, cells }) => [label, cells.length]),
        sheet.rows.map(({ label, cells }) => [label, cells.length]),
        name,
      )
    }
  })
})
