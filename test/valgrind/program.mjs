// The program that valgrind watches: its arguments are the tiny model, a folder for files, and which half to run.
/* global gc */
import { writeFileSync } from 'node:fs'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'

const [model, folder, half] = process.argv.slice(2)
const config = { unet: { heads: 4 }, textEncoder: { heads: 2 } }
const request = {
  layout: { prompt: 'a hill' },
  content: 'a photo of a coffee machine',
  attention: { coffee: 1.4 },
  ...{ width: 64, height: 64, steps: 3, seed: 42 },
}

if (half === 'sweep') {
  await mixAndAbort({ model, config, precision: 'f32', device: 'cpu' })
  await sweep()
} else {
  await mixWithLora()
  await mixAndAbort({ model, config, precision: 'f16', device: 'vulkan:0', keepOnCpu: ['vae'] })
}
gc() // what waits for V8's collector is no leak

async function mixAndAbort(options) {
  const mixer = await MagicMix.load({ ...options, threads: 1, onProgress() {} })
  let previews = 0
  const { data } = await mixer.mix({
    ...{ ...request, preview: 1, trace: true },
    onProgress: ({ preview }) => (previews += preview ? 1 : 0),
  })

  const controller = new AbortController()
  // Not in the first step: ggml's scheduler still runs a node of every part of a graph that was
  // cancelled, on whatever its memory holds, and nobody has written there before.
  const onProgress = ({ stage, step }) => {
    if (stage === 'layout' && step > 0) controller.abort('enough')
  }
  const { signal } = controller
  const ending = await mixer.mix({ ...request, steps: 50, signal, onProgress }).catch(String)

  await mixer.dispose()
  const { device } = mixer.model
  console.log(`${device}: mixed ${data.length} bytes, ${previews} previews, aborted: ${ending}`)
  if (ending !== 'enough' || previews === 0) process.exitCode = 1
}

/** Mixes that begin with each other's states, broken off and gone on with. */
async function sweep() {
  const mixer = await MagicMix.load({ model, config, device: 'cpu', threads: 1 })
  const small = { ...request, width: 32, height: 32, sampler: 'dpm++2m', steps: 3, kMax: 0.67 }
  const vary = { kMin: [0, 0.34] }
  const cells = mixer.sweep({ ...small, vary })
  for await (const { index } of cells) if (index === 0) break
  for await (const { mix } of cells) await mix.toBuffer()
  await cells.sheet().toBuffer()
  const forgotten = mixer.sweep({ ...small, vary })
  for await (const { index } of forgotten) if (index === 0) break
  await mixer.dispose()
  console.log(
    `${mixer.model.device}: a sweep of ${cells.finished.length} in ${cells.plan.unetCalls}`,
  )
}

/** From a quantised file, whose weights a LoRA changes and then gives back. */
async function mixWithLora() {
  const quantised = path.join(folder, 'model.gguf')
  await convert({ input: model, output: quantised, type: 'q8_0', config })
  const mixer = await MagicMix.load({ model: quantised, device: 'cpu', threads: 1 })
  const lora = path.join(folder, 'lora.safetensors')
  writeFileSync(lora, loraOf('lora_unet_mid_block_attentions_0_proj_in', mixer.model.sizes))
  for (const loras of [[{ file: lora, strength: 0.5 }], []])
    await mixer.mix({ ...request, steps: 2, loras })
  // As small as it gets: several contents, maps, a score, and a method of two prompts.
  const tiny = { ...request, width: 16, height: 16 }
  const { content, attention, ...rest } = { ...tiny, kMax: 1, kMin: 0 }
  const map = { data: Uint8Array.of(0, 255), width: 2, height: 1, channels: 1 }
  const contents = [
    { prompt: content, attention },
    { prompt: 'a hill', weight: 0.5 },
  ]
  await mixer.mix({ ...rest, contents, nuMap: map, kMaxMap: map, score: true })
  await mixer.mix({ ...tiny, steps: 1, method: 'split' })
  await mixer.dispose()
  console.log(`${mixer.model.device}: mixed with and without a LoRA, and in place`)
}

/** A safetensors file of two factors of rank 2, for a square layer in the middle of the UNet. */
function loraOf(layer, { unet }) {
  const width = unet.channels.at(-1)
  const values = new Float32Array(4 * width).fill(0.01)
  const half = values.byteLength / 2
  const tensor = (shape, from) => ({ dtype: 'F32', shape, data_offsets: [from, from + half] })
  const header = JSON.stringify({
    [`${layer}.lora_down.weight`]: tensor([2, width], 0),
    [`${layer}.lora_up.weight`]: tensor([width, 2], half),
  })
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, Buffer.from(header), Buffer.from(values.buffer)])
}
