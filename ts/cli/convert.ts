/** `magicmix convert`: a checkpoint in another format or type. */
import { convertOptions } from '../models/convert-options.js'
import { type Arguments, type Command, UsageError } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { bytes, startReport } from './report.js'

export const command: Command = {
  name: 'convert',
  usage: 'convert [options] IN OUT',
  summary: 'write a checkpoint as .gguf or .safetensors, quantised or not',
  about: `Reads IN, anything that can be mixed with, and writes OUT, whose name says the format.
TYPE is that of the large weights: f32, f16, bf16, and in .gguf also q8_0, q6_k, q5_k, q5_1, q5_0,
q4_k, q4_1, q4_0, q3_k, q2_k. Norms, embeddings and the autoencoder keep 16 bits or more.
With --compatible, which stable-diffusion.cpp needs of a quantised file, convolutions do, too.`,
  examples: [
    'magicmix convert sd-v1-4.ckpt sd-v1-4.safetensors',
    'magicmix convert sd-v1-4.safetensors sd-v1-4-q8_0.gguf --type q8_0',
    'magicmix convert sd-v1-4.safetensors for-others.gguf --type q8_0 --compatible',
  ],
  options: flagsOf(convertOptions),
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const [input, output, ...more] = positionals
  if (input === undefined || output === undefined || more.length > 0) {
    throw new UsageError(`Expected IN and OUT but received ${positionals.length} arguments`)
  }
  const { convert } = await import('../convert.js')
  const report = startReport()
  try {
    const conversion = await convert({
      input,
      output,
      ...optionsFrom(convertOptions, values),
      onProgress: report.show.bind(report),
      signal,
    })
    report.end()
    const types = Object.entries(conversion.tensors).map(([type, count]) => `${count} ${type}`)
    console.log(
      values.json
        ? JSON.stringify(conversion)
        : `${conversion.path}: ${bytes(conversion.bytes)}, tensors: ${types.join(', ')}`,
    )
  } finally {
    report.end()
  }
}
