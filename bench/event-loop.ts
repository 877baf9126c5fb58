/**
 * How late a 5 ms timer is while mixes run: what a server's other requests feel.
 *
 *     npm run bench:event-loop -- [--mixes 5] [--size 256x256] [--model FILE] [--threads 1]
 *                                [--json]
 *
 * Without --model: the tiny formula-weight model. Loading, reading the picture, previews and
 * progress are all part of what is measured; for comparison the timer is also measured while nothing
 * runs.
 */
import { parseArgs } from 'node:util'

import { MagicMix } from 'magicmix'

import { tinyHeads, tinyModel } from '../test/support/models.js'
import { fixture } from '../test/support/package-root.js'
import { machine } from './machine.js'

const period = 5

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      mixes: { type: 'string', default: '5' },
      size: { type: 'string', default: '256x256' },
      model: { type: 'string' },
      threads: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const [width = NaN, height = width] = values.size.split('x').map(Number)
  const model = values.model ?? (await tinyModel())
  const config = values.model === undefined ? tinyHeads : {}
  const threads = values.threads === undefined ? {} : { threads: Number(values.threads) }

  const idle = await delaysWhile(() => new Promise((resolve) => setTimeout(resolve, 2000)))
  let mixer: MagicMix | undefined
  const loading = await delaysWhile(async () => {
    mixer = await MagicMix.load({ model, config, ...threads })
  })
  let events = 0
  const mixing = await delaysWhile(async () => {
    for (let i = 0; i < Number(values.mixes); i++) {
      await mixer?.mix({
        layout: fixture('landscape256.png'),
        content: 'a photo of a corgi wearing a red hat',
        attention: { hat: 1.5 },
        steps: 20,
        seed: i,
        width,
        height,
        previewEvery: 1,
        onProgress: () => events++,
      })
    }
  })
  const { device, threads: used } = mixer?.model ?? {}
  await mixer?.dispose()

  const result = {
    machine: machine(),
    model: values.model ?? 'tiny (formula weights)',
    device,
    threads: used,
    size: `${width}x${height}`,
    mixes: Number(values.mixes),
    events,
    idle,
    loading,
    mixing,
  }
  console.log(values.json ? JSON.stringify(result) : JSON.stringify(result, null, 2))
}

interface Delays {
  timers: number
  p50: number
  p99: number
  max: number
}

/** Milliseconds by which a timer of {@link period} ms is late while `work` runs. */
async function delaysWhile(work: () => Promise<unknown>): Promise<Delays> {
  const delays: number[] = []
  let due = performance.now() + period
  const timer = setInterval(() => {
    const now = performance.now()
    delays.push(now - due)
    due = now + period
  }, period)
  await work()
  clearInterval(timer)

  delays.sort((a, b) => a - b)
  const at = (fraction: number) => {
    const delay = delays[Math.min(delays.length - 1, Math.floor(fraction * delays.length))]
    return Number((delay ?? 0).toFixed(2))
  }
  return { timers: delays.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

void main()
