/** Files beside a model. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'

import { tinyModel } from './models.js'
import { readSafetensors, safetensorsBytes } from './safetensors.js'

/** A LoRA and an embedding for the tiny model. */
export async function addedFiles(folder: string): Promise<{ file: string; embedding: string }> {
  const values = (count: number, factor: number) =>
    Buffer.from(Float32Array.from({ length: count }, (_, i) => factor * Math.sin(i)).buffer)
  const weight = 'model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight'
  const [rows, columns] = readSafetensors(await tinyModel('F32')).header[weight]!.shape as [
    number,
    number,
  ]
  const name = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q'
  const file = path.join(folder, 'lora.safetensors')
  await writeFile(
    file,
    safetensorsBytes(
      {
        [`${name}.lora_down.weight`]: entry([1, columns], 0),
        [`${name}.lora_up.weight`]: entry([rows, 1], 4 * columns),
      },
      Buffer.concat([values(columns, 0.1), values(rows, 0.1)]),
    ),
  )
  const embedding = path.join(folder, 'toy.safetensors')
  await writeFile(embedding, safetensorsBytes({ '<toy>': entry([1, 64], 0) }, values(64, 0.1)))
  return { file, embedding }

  function entry(shape: number[], begin: number) {
    const end = begin + 4 * shape.reduce((product, side) => product * side)
    return { dtype: 'F32', shape, data_offsets: [begin, end] }
  }
}
