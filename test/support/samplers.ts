/** The cases of fixtures/samplers.json: diffusers' schedulers, and MagicMix on each of them. */
import { readFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { MixRequest } from 'magicmix'

import { assertClose } from './closeness.js'
import { tinyDiffusers } from './models.js'
import { fixture } from './package-root.js'
import { readSafetensors, tensorValues } from './safetensors.js'

/** Changes to the model's scheduler_config.json. */
export type Scheduler = Record<string, unknown>

export interface ScheduleCase extends Pick<MixRequest, 'sampler' | 'spacing' | 'eta' | 'gamma'> {
  id: string
  steps: number
  scheduler: Scheduler
  timesteps: number[]
  /** Of every state. */
  alphaBar: number[]
  stateZero: number
  /** Where a step does not end at the next state's level. */
  alphaBarAfterStep?: number[]
  fresh?: number[]
}

interface RunCase {
  id: string
  scheduler: Scheduler
  /** A layout that is a text names a fixture. */
  request: MixRequest
  /** How far PyTorch's own float64 result lies. */
  error: number
}

const cases = JSON.parse(readFileSync(fixture('samplers.json'), 'utf8')) as {
  schedules: ScheduleCase[]
  runs: RunCase[]
}
export const schedules = cases.schedules
const lastStates = readSafetensors(fixture('samplers.safetensors'))

/** Runs the cases that are wanted, with one model for all that share a schedule. */
export function describeRuns(wanted: (index: number, id: string) => boolean): void {
  const bySchedule = new Map<string, RunCase[]>()
  for (const run of cases.runs.filter(({ id }, i) => wanted(i, id))) {
    const key = JSON.stringify(run.scheduler)
    bySchedule.set(key, [...(bySchedule.get(key) ?? []), run])
  }
  for (const [key, runs] of bySchedule) {
    describe(`with the schedule ${key}`, () => {
      let folder: string
      let mixer: MagicMix
      before(async () => {
        folder = await mkdtemp(path.join(tmpdir(), 'magicmix-samplers-'))
        await cp(await tinyDiffusers(), folder, { recursive: true })
        const file = path.join(folder, 'scheduler', 'scheduler_config.json')
        const config = JSON.parse(await readFile(file, 'utf8')) as object
        await writeFile(file, JSON.stringify({ ...config, ...runs[0]!.scheduler }))
        const plain = { device: 'cpu', precision: 'f32', threads: 1 } as const
        mixer = await MagicMix.load({ model: folder, ...plain })
      })
      after(async () => {
        await mixer.dispose()
        await rm(folder, { recursive: true })
      })
      for (const { id, request, error } of runs) {
        it(id, async () => {
          const { layout } = request
          const picture = typeof layout === 'string' ? fixture(layout) : layout
          const { trace } = await mixer.mix({ ...request, layout: picture, trace: true })
          const last = trace.at(-1)!.latent
          assertClose(id, last, tensorValues(lastStates, id), Math.max(1e-4, 5 * error))
        })
      }
    })
  }
}
