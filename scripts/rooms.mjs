#!/usr/bin/env node
/**
 * Lists the rooms of cpp/ and ts/ with the arrows between them (includes and imports), and fails if one
 * points from a lower room to a higher one, or sideways. `node scripts/rooms.mjs DIR` looks at another
 * checkout.
 */
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'

const root = path.resolve(process.argv[2] ?? '.')

/** From low to high; rooms of one line do not know each other. */
const houses = {
  cpp: {
    levels: [
      ['base'],
      ['kernels', 'diffusion'],
      ['mix', 'tensor'],
      ['model'],
      ['checkpoint'],
      ['lora', 'embeddings', 'convert'],
      ['engine'],
    ],
    files: /\.(h|cpp)$/,
    // A file outside of any room belongs to the top one.
    roomOf: (file) => (file.includes('/') ? file.split('/')[0] : 'engine'),
    targets: (text) => [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, target]) => target),
  },
  ts: {
    levels: [
      ['base'], // files beside the rooms that everything may use
      ['options'],
      ['input'],
      ['request', 'models'],
      ['native'],
      ['hub', 'devices'],
      ['isolate', 'sweep', 'recipe'],
      ['facade'],
      ['cli'],
    ],
    files: /\.ts$/,
    roomOf: (file) => {
      if (file.includes('/')) return file.split('/')[0]
      return [
        'error-codes',
        'errors',
        'home',
        'own-process',
        'package-files',
        'pixels',
        'progress',
        'sharp',
        'stop',
      ].includes(path.parse(file).name)
        ? 'base'
        : 'facade'
    },
    targets: (text, file) =>
      [...text.matchAll(/(?:from |import\()'(\.[^']+)'/g)].map(([, target]) =>
        path.posix.join(path.posix.dirname(file), target).replace(/\.js$/, '.ts'),
      ),
  },
}

const imported = houses.ts.targets
/** The server: a house of its own, which knows the package by its name alone. */
houses['packages/server/ts'] = {
  levels: [
    ['base'],
    ['jobs', 'models', 'guards'],
    ['work', 'redis'],
    ['request'],
    ['mcp'],
    ['routes', 'http'],
    ['facade'],
  ],
  files: /\.ts$/,
  roomOf: (file) => {
    if (file.includes('/')) return file.split('/')[0]
    const base = ['limits', 'mix-codes', 'problem', 'problem-codes', 'types', 'version']
    if (file === 'context.ts') return 'request' // what a request is handled with
    return base.includes(path.parse(file).name) ? 'base' : 'facade'
  },
  targets: imported,
}

let wrong = 0
for (const [name, house] of Object.entries(houses)) wrong += show(name, house)
process.exitCode = wrong > 0 ? 1 : 0

function show(name, { levels, files, roomOf, targets }) {
  const folder = path.join(root, name)
  const arrows = new Map() // 'from to' -> the files that make it
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!files.test(file)) continue
    const from = roomOf(file)
    for (const target of targets(readFileSync(path.join(folder, file), 'utf8'), file)) {
      const to = roomOf(target)
      if (from === to) continue
      const arrow = `${from} ${to}`
      arrows.set(arrow, [...(arrows.get(arrow) ?? []), `${file} -> ${target}`])
    }
  }

  const levelOf = (room) => levels.findIndex((rooms) => rooms.includes(room))
  const wrong = [...arrows].filter(([arrow]) => {
    const [from, to] = arrow.split(' ').map(levelOf)
    return to < 0 || from <= to
  })
  const count = (some) => some.reduce((sum, [, made]) => sum + made.length, 0)
  console.log(`${name}/`)
  for (const room of levels.flat().reverse()) {
    const to = [...arrows.keys()].map((arrow) => arrow.split(' ')).filter(([from]) => from === room)
    console.log(`  ${room.padEnd(12)}-> ${to.map(([, target]) => target).join(' ') || 'nothing'}`)
  }
  console.log(
    `  ${count([...arrows])} arrows between files of ${arrows.size} pairs of rooms; ` +
      `upward or sideways: ${count(wrong)}`,
  )
  for (const [, made] of wrong) for (const each of made) console.error(`    ${each}`)
  return wrong.length
}
