// A pool of worker threads, each with a model of its own, which share a list of mixes:
//
//     node examples/worker-pool.mjs [WORKERS] [PROMPT ...]
//
// This pays where mixes should not wait for each other, or where some run on one GPU and some on
// another (`device`). On one CPU it does not make the sum of them faster: mixers take turns on the
// cores, and each has its weights in memory. A single mixer never blocks the event loop either.
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'

import { MagicMix } from 'magicmix'

if (isMainThread) await mixAll(process.argv.slice(2))
else await work(workerData)

async function mixAll([count = '2', ...prompts]) {
  const contents = prompts.length > 0 ? prompts : ['a photo of a lemon', 'a photo of a pear']
  const waiting = contents.map((content, index) => ({ content, index }))
  const options = { device: process.env.MAGICMIX_DEVICE || 'auto', threads: 1 }
  const workers = Array.from(
    { length: Math.min(Number(count), contents.length) },
    () => new Worker(fileURLToPath(import.meta.url), { workerData: options }),
  )
  await Promise.all(workers.map((worker) => feed(worker, waiting)))
}

/** Gives a worker one task after the other, until none is left. */
function feed(worker, waiting) {
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.once('exit', resolve)
    worker.on('message', ({ done }) => {
      if (done) console.log(`${done.index} ${done.content}: ${done.file}`)
      worker.postMessage(waiting.shift() ?? null)
    })
  })
}

async function work(options) {
  const mixer = await MagicMix.load(options)
  parentPort.on('message', async (task) => {
    if (task === null) {
      await mixer.dispose()
      parentPort.close()
      return
    }
    const layout = { prompt: 'a photo of a red apple' }
    const mix = await mixer.mix({ layout, content: task.content, steps: 10, seed: 7 })
    const file = `mix-${task.index}.png`
    await mix.toFile(file)
    parentPort.postMessage({ done: { ...task, file } })
  })
  parentPort.postMessage({ ready: true })
}
