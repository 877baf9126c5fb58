// Mixes a prompt into a picture and saves the result:
//
//     node examples/script.mjs [PICTURE] [PROMPT] [OUTPUT]
//
// Without a MAGICMIX_MODEL, the small model in the package paints 128 x 128 pixels of a small world.
import { MagicMix, MagicMixError } from 'magicmix'

const [
  layout = { prompt: 'a photo of a red pear' },
  content = 'a photo of a lemon',
  output = 'mix.png',
] = process.argv.slice(2)

try {
  const mixer = await MagicMix.load({ model: process.env.MAGICMIX_MODEL || undefined })
  console.error(`${mixer.model.family} on ${mixer.model.device} in ${mixer.model.precision}`)
  const mix = await mixer.mix({
    layout,
    content,
    seed: 7,
    onProgress: ({ stage, step, steps }) => console.error(`${stage} ${step}/${steps}`),
  })
  await mix.toFile(output)
  console.log(output)
  await mixer.dispose()
} catch (error) {
  // Every error has a stable code and a message for people; anything else is a bug.
  if (!(error instanceof MagicMixError)) throw error
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
}
