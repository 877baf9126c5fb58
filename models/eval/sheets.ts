/**
 * Draws what models/README.md shows: every concept from its prompt, and every pair of the tests.
 *
 *     npx tsx models/eval/sheets.ts models/eval
 */
import path from 'node:path'

import sharp from 'sharp'

import { type Sheet, drawSheet } from '../../dist/sweep/draw-sheet.js'
import { Workshop, decoded, fromPrompt, layoutOf, mixing, pairs, photoOf } from './measure.js'
import { type Concept, concepts } from './metrics.js'

const folder = process.argv[2] ?? '.'

async function main(): Promise<void> {
  const workshop = await Workshop.open()
  try {
    await save('prompts', await prompts(workshop))
    await save('pairs', await mixes(workshop))
  } finally {
    await workshop.close()
  }
}

/** Two concepts a row. */
async function prompts(workshop: Workshop): Promise<Sheet> {
  const seeds = [0, 1, 2, 3]
  const things = concepts.filter((concept): concept is Concept => concept !== 'plain')
  const requests = things.flatMap((concept) => seeds.map((seed) => fromPrompt(concept, seed)))
  const made = await workshop.mixAll(requests)
  const half = Math.ceil(things.length / 2)
  const of = (i: number) => made.slice(i * seeds.length, (i + 1) * seeds.length)
  return {
    title: 'Every concept from its prompt',
    about: [`${mixing.steps} steps, guidance 7.5, seeds ${seeds.join(', ')}; nothing is picked`],
    columns: [...seeds, ...seeds].map((seed) => `seed ${seed}`),
    rows: Array.from({ length: half }, (_, i) => ({
      label: `${things[i]}\n| ${things[i + half] ?? ''}`,
      pictures: [...of(i), ...(i + half < things.length ? of(i + half) : [])],
    })),
  }
}

/** A row for each pair of the tests. */
async function mixes(workshop: Workshop): Promise<Sheet> {
  const nus = [0.1, 0.3, 0.5, 0.7, 0.9, 1]
  const layouts = await Promise.all(pairs.map(([layout]) => layoutOf(layout)))
  const requests = pairs.flatMap(([, content], i) =>
    nus.map((nu) => ({ layout: layouts[i]!, content: photoOf(content), nu, ...mixing, seed: 0 })),
  )
  const made = await workshop.mixAll(requests)
  return {
    title: 'The pairs of the tests',
    about: [
      `kMin ${mixing.kMin}, kMax ${mixing.kMax}, ${mixing.steps} steps, seed 0; pairs and seed were fixed before looking`,
    ],
    columns: ['layout', ...nus.map((nu) => `nu ${nu}`)],
    rows: await Promise.all(
      pairs.map(async ([layout, content], i) => ({
        label: `${layout}\n+ ${content}`,
        pictures: [await decoded(layouts[i]!), ...made.slice(i * nus.length, (i + 1) * nus.length)],
      })),
    ),
  }
}

async function save(name: string, sheet: Sheet): Promise<void> {
  const { data, width, height } = await drawSheet(sheet)
  const raw = { width, height, channels: 3 } as const
  await sharp(data, { raw })
    .png({ palette: true, quality: 90 })
    .toFile(path.join(folder, `${name}.png`))
}

void main()
