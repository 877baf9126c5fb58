// The program that valgrind watches: its argument is the tiny model.
/* global gc */
import { MagicMix } from 'magicmix'

const request = {
  layout: { prompt: 'a hill' },
  content: 'a photo of a coffee machine',
  attention: { coffee: 1.4 },
  ...{ width: 64, height: 64, steps: 3, seed: 42 },
}

const mixer = await MagicMix.load({
  model: process.argv[2],
  config: { unet: { heads: 4 }, textEncoder: { heads: 2 } },
  ...{ precision: 'f32', threads: 1 },
  onProgress() {},
})
let previews = 0
const { data } = await mixer.mix({
  ...{ ...request, preview: 1, trace: true },
  onProgress: ({ preview }) => (previews += preview ? 1 : 0),
})

const controller = new AbortController()
const onProgress = ({ stage }) => stage === 'layout' && controller.abort('enough')
const { signal } = controller
const ending = await mixer.mix({ ...request, steps: 50, signal, onProgress }).catch(String)

await mixer.dispose()
gc() // what waits for V8's collector is no leak
console.log(`mixed ${data.length} bytes, ${previews} previews, then aborted: ${ending}`)
if (ending !== 'enough' || previews === 0) process.exitCode = 1
