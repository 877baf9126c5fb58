/** What CUDA has room for, seen by graphs of real sizes that nothing computes. */
import path from 'node:path'

import type { FakeGpu } from './fake-gpu.js'
import { formulaTensors } from './formula-model.js'
import type { FormulaConfig } from './formula-model.js'
import { writeHollowSafetensors } from './safetensors-writer.js'

/** A sweep over so many seeds in one batch. */
export interface Tried {
  precision: string
  /** Width and height: '512x768'. */
  size: string
  batch: number
  /** 'none', or the code of its error. */
  failure: string
}

/** Every size in every precision and batch, with weights that are all zero. */
export async function tried(
  gpu: FakeGpu,
  config: FormulaConfig,
  precisions: string[],
  sizes: string[],
  memory = 140e9,
): Promise<Tried[]> {
  const model = path.join(gpu.folder, `${sizes.join('-')}.safetensors`)
  const tensors = formulaTensors(config).map((each) => ({ ...each, dtype: 'F16' as const }))
  await writeHollowSafetensors(model, tensors)
  return gpu.says<Tried[]>(`
    const { model, precisions, sizes, memory } = ${JSON.stringify({ model, precisions, sizes, memory })}
    await devices() // they are tested, for which they have to compute
    process.env.FAKE_GPU_COMPUTES = 'nothing'
    process.env.FAKE_GPU_MEMORY = String(memory)
    const found = []
    for (const precision of precisions) {
      const mixer = await load({ model, config: undefined, precision, cacheBytes: 0 })
      for (const size of sizes) for (const batch of [1, 2, 7, 16]) {
        const [width, height] = size.split('x').map(Number)
        const vary = { seed: Array.from({ length: batch }, (_, i) => i) }
        const sweep = { ...request, width, height, steps: 2, seed: undefined, vary, batch }
        const whole = async () => { for await (const _ of mixer.sweep(sweep)); }
        const { code = 'none' } = await failure(whole())
        found.push({ precision, size, batch, failure: code })
      }
      await mixer.dispose()
    }
    return found`)
}

export function failed(found: Tried[]): Tried[] {
  return found.filter(({ failure }) => failure !== 'none')
}
