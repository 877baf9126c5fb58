/**
 * `npm run docs:notices`: writes the list of what npm installs along into THIRD-PARTY-NOTICES.md. `--check` fails if
 * that list is not up to date, if a part or a holder of rights that the packed sources name is not in the file, or
 * if a licence is none of those that were looked at.
 */
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import * as prettier from 'prettier'

import {
  ggmlEntries,
  jsonHeader,
  productionPackages,
  root,
  tree,
  vendoredParts,
} from './third-party.mjs'

/** Permissive ones, and the LGPL of libvips: a library of its own, which its users may exchange. */
const known = new Set([
  ...['MIT', 'ISC', '0BSD', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', 'BlueOak-1.0.0'],
  '(BSD-2-Clause OR MIT OR Apache-2.0)',
])
const knownOfImages = new Set([
  'LGPL-3.0-or-later',
  'Apache-2.0 AND LGPL-3.0-or-later',
  'Apache-2.0 AND LGPL-3.0-or-later AND MIT',
])

const holderOfRights =
  /(?:copyright|SPDX-FileCopyrightText:)(?: copyright)?(?: \(c\))? \d{4}(?:-\d{4})? ([^\n*]+)/gi

const file = path.join(root, 'THIRD-PARTY-NOTICES.md')
const [from, to] = ['<!-- made by npm run docs:notices -->', '<!-- end -->']
const written = readFileSync(file, 'utf8')
const upToDate = await withList(written)

if (process.argv.includes('--check')) {
  const problems = [
    ...(written === upToDate ? [] : ['its list is not up to date: npm run docs:notices']),
    ...missingParts(written),
    ...missingHolders(written),
    ...unknownLicences(),
  ]
  for (const problem of problems) console.error(`THIRD-PARTY-NOTICES.md: ${problem}`)
  process.exitCode = problems.length > 0 ? 1 : 0
} else {
  writeFileSync(file, upToDate)
}

async function withList(text) {
  const [start, end] = [text.indexOf(from), text.indexOf(to)]
  const lists = ['magicmix', 'magicmix-server'].map((name) => listOf(name)).join('\n\n')
  const made = `${text.slice(0, start)}${from}\n\n${lists}\n\n${text.slice(end)}`
  const options = await prettier.resolveConfig(file)
  return prettier.format(made, { ...options, filepath: file })
}

function listOf(name) {
  const licences = new Map()
  for (const each of productionPackages(name)) {
    licences.set(each.licence, (licences.get(each.licence) ?? new Set()).add(each.name))
  }
  const lines = [...licences]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([licence, names]) => `- **${licence}**: ${[...names].sort().join(', ')}`)
  return `### With ${name}\n\n${lines.join('\n')}`
}

function missingParts(text) {
  return vendoredParts()
    .map(({ name, version }) => [name, version].filter(Boolean).join(' '))
    .filter((part) => !text.includes(`| ${part} `))
    .map((part) => `"${part}" is packed, and not in the table`)
}

function missingHolders(text) {
  const holders = new Map()
  for (const each of sources()) {
    for (const [, holder] of readFileSync(each, 'utf8').matchAll(holderOfRights)) {
      holders.set(holder.replace(/ *(<.*|and\/or.*|\.?\s*)$/, ''), path.relative(tree, each))
    }
  }
  return [...holders]
    .filter(([holder]) => !text.includes(holder))
    .map(([holder, where]) => `"${holder}" has rights in ${where}, and is not named`)
}

function sources() {
  const entries = ggmlEntries().map((name) => path.join(tree, 'ggml', name))
  const files = entries.flatMap((entry) =>
    statSync(entry).isFile()
      ? [entry]
      : readdirSync(entry, { recursive: true, withFileTypes: true })
          .filter((each) => each.isFile())
          .map((each) => path.join(each.parentPath ?? each.path, each.name)),
  )
  return [...files, jsonHeader]
}

function unknownLicences() {
  return ['magicmix', 'magicmix-server']
    .flatMap(productionPackages)
    .filter(({ name, licence }) => {
      return !known.has(licence) && !(name.startsWith('@img/') && knownOfImages.has(licence))
    })
    .map(({ name, licence }) => `${name} has the licence ${licence}, which nobody has looked at`)
}
