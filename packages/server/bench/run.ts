/**
 * What the server itself costs: requests per second, the time that it adds to a mix, and how late its event loop is with many
 * clients at once.
 *
 *     npm run bench:server -- [--seconds 5] [--mixes 20] [--clients 200] [--steps 10] [--json]
 *
 * The model is the one in the box. Clients are in a process of their own, so that two cores are needed for the figures to
 * mean anything.
 */
import { parseArgs } from 'node:util'

import { MagicMix } from 'magicmix'
import { createServer } from 'magicmix-server'

import { machine } from '../../../bench/machine.js'
import { type Client, clientOf, mixRequest } from './mixing.js'
import { clients, loopDelayDuring, median } from './measure.js'

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '5' },
      mixes: { type: 'string', default: '20' },
      clients: { type: 'string', default: '200' },
      steps: { type: 'string', default: '10' },
      json: { type: 'boolean', default: false },
    },
  })
  const steps = Number(values.steps)
  const mixer = await MagicMix.load({ device: 'cpu' })
  const limits = { ratePerMinute: 1e9 }
  const server = await createServer({ mixer, limits })
  const address = await server.listen()
  const client = clientOf(address)
  const ms = Number(values.seconds) * 1000

  const known = await client.mix({ ...mixRequest, steps })
  const rates: Record<string, number> = {}
  for (const [name, method, path, body] of [
    ['GET /health/live', 'GET', '/health/live', undefined],
    ['GET /v1/mixes/{id}', 'GET', known.self, undefined],
    ['GET /v1/mixes/{id}/picture', 'GET', `${known.self}/picture`, undefined],
    ['POST /v1/tokenize', 'POST', '/v1/tokenize', { text: 'a photo of a corgi' }],
  ] as const) {
    const task = { kind: 'rate', address, method, path, body, connections: 16, ms } as const
    rates[name] = Math.round((await clients(task)).perSecond)
  }

  const added = await addedPerMix(mixer, client, Number(values.mixes), steps)
  const burst = await loopDelayDuring(async () => {
    const body = { ...mixRequest, steps: 2 }
    const task = { kind: 'burst', address, method: 'POST', path: '/v1/mixes', body } as const
    const answers = await clients({ ...task, clients: Number(values.clients) })
    await client.idle()
    return answers
  })
  const { result: answers, ...loop } = burst
  const taken = answers.filter(({ status }) => status === 202).length
  const result = {
    machine: machine(),
    requestsPerSecond: rates,
    mix: added,
    burst: { clients: answers.length, taken, refused: answers.length - taken, eventLoopMs: loop },
  }
  console.log(JSON.stringify(result, null, values.json ? 0 : 2))
  await server.close()
  await mixer.dispose()
}

/** A mix and its PNG here, and the same from the request to the last byte of its picture, in turns. */
async function addedPerMix(mixer: MagicMix, client: Client, mixes: number, steps: number) {
  const direct: number[] = []
  const served: number[] = []
  for (let i = 0; i < mixes; i++) {
    const request = { ...mixRequest, steps, seed: i }
    const start = performance.now()
    await (await mixer.mix(request)).toBuffer({ format: 'png', recipe: true })
    const between = performance.now()
    await client.mix(request)
    direct.push(between - start)
    served.push(performance.now() - between)
  }
  const ms = (value: number) => Number(value.toFixed(2))
  const differences = served.map((each, i) => each - (direct[i] ?? NaN))
  return {
    ...{ steps, directMs: ms(median(direct)), servedMs: ms(median(served)) },
    addedMs: ms(median(differences)),
  }
}

void main()
