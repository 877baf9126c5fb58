/** The program that run.sh watches: `program.mjs MODEL FOLDER MIXES`. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Worker, isMainThread, workerData } from 'node:worker_threads'

import { MagicMix, MagicMixError } from 'magicmix'

const [model, folder, count] = isMainThread ? process.argv.slice(2) : workerData
const options = { model, config: { unet: { heads: 4 }, textEncoder: { heads: 2 } } }
const request = {
  layout: { prompt: 'a hill' },
  content: 'a cat',
  width: 32,
  height: 32,
  steps: 3,
  kMax: 1,
}

if (isMainThread) await soak(Number(count))
else await mixForEver()

/** A thread that is terminated in the middle of anything. */
async function mixForEver() {
  const mixer = await MagicMix.load(options)
  for (let seed = 0; ; seed++) await mixer.mix({ ...request, seed })
}

async function soak(mixes) {
  const loras = [makeLora('one', 1), makeLora('two', 2)]
  const expected = new Map() // by LoRAs and seed
  const random = pseudorandom(7)
  const pick = (list) => list[Math.floor(random() * list.length)]
  let mixers = await loadTwo()
  const outcomes = { done: 0, stopped: 0 }
  const sizes = []

  for (let i = 0; i < mixes; i += 5) {
    const worker =
      i % 25 === 0
        ? new Worker(new URL(import.meta.url), { workerData: process.argv.slice(2) })
        : undefined
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        const mixer = pick(mixers)
        const used = pick([[], [loras[0]], [loras[1]], loras])
        const seed = Math.floor(random() * 3)
        const signal =
          random() < 0.4 ? globalThis.AbortSignal.timeout(Math.floor(random() * 60)) : undefined
        const onProgress = random() < 0.5 ? () => {} : undefined
        try {
          const { data } = await mixer.mix({
            ...request,
            seed,
            loras: used,
            signal,
            onProgress,
            previewEvery: 1,
          })
          const key = JSON.stringify([used, seed])
          if (!expected.has(key)) expected.set(key, Buffer.from(data))
          assert.ok(expected.get(key).equals(data), `the bits of ${key} have changed`)
          outcomes.done++
        } catch (error) {
          const wanted =
            error.name === 'TimeoutError' ||
            (error instanceof MagicMixError && error.code === 'DISPOSED')
          if (!wanted) throw error
          outcomes.stopped++
        }
      }).concat(disposeSometimes()),
    )
    await worker?.terminate()
    if ((i + 5) % 50 === 0) {
      // Always with the same mixers: one of 1024 threads, which comes and goes, is 50 MiB.
      for (const mixer of mixers) await mixer.dispose()
      mixers = await loadTwo()
      globalThis.gc()
      sizes.push(process.memoryUsage.rss() / 2 ** 20)
      console.log(`${i + 5} of ${mixes}: ${Math.round(sizes.at(-1))} MiB`)
    }
  }
  for (const mixer of mixers) await mixer.dispose()

  // What memory does in the first third is warming up.
  const third = Math.floor(sizes.length / 3)
  const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
  const [before, after] = [median(sizes.slice(third, 2 * third)), median(sizes.slice(2 * third))]
  console.log(JSON.stringify({ ...outcomes, rssMiB: [before, after].map(Math.round) }))
  assert.ok(outcomes.done > mixes / 4)
  assert.ok(after < 1.1 * before, 'memory grows')

  async function loadTwo() {
    return [await MagicMix.load(options), await MagicMix.load({ ...options, threads: 1 })]
  }

  async function disposeSometimes() {
    if (random() > 0.1) return
    const [gone, ...others] = mixers
    mixers = [...others, await MagicMix.load({ ...options, threads: pick([1, 2, 1024]) })]
    await gone.dispose()
  }
}

/** Small random factors for the queries of the model's first attention. */
function makeLora(name, seed) {
  const bytes = readFileSync(model)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
  const random = pseudorandom(seed)
  const tensors = {}
  const parts = []
  let offset = 0
  const add = (key, shape) => {
    const values = Float32Array.from({ length: shape[0] * shape[1] }, () => (random() - 0.5) * 0.2)
    tensors[key] = { dtype: 'F32', shape, data_offsets: [offset, (offset += values.byteLength)] }
    parts.push(Buffer.from(values.buffer))
  }
  for (const [key, { shape }] of Object.entries(header)) {
    if (!/^model\.diffusion_model\..*attn1\.to_[qv]\.weight$/.test(key)) continue
    const module = key
      .slice('model.diffusion_model.'.length, -'.weight'.length)
      .replaceAll('.', '_')
    add(`lora_unet_${module}.lora_down.weight`, [4, shape[1]])
    add(`lora_unet_${module}.lora_up.weight`, [shape[0], 4])
  }
  const head = Buffer.from(JSON.stringify(tensors))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(head.length))
  const file = path.join(folder, `${name}.safetensors`)
  writeFileSync(file, Buffer.concat([size, head, ...parts]))
  return { file, strength: 0.5 }
}

function pseudorandom(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
