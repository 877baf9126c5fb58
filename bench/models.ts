/** The models that are measured. */
import { sd15Model, sdxlModel } from '../test/support/models.js'

export interface BenchModel {
  /** A file or a folder. */
  file: string
  /** Of the pictures that are made, in pixels. */
  side: number
  /** As the program for kernels alone calls its sizes; none for other files. */
  sizes?: 'sd15' | 'sdxl'
}

/** 'sd15' or 'sdxl', formula weights that are made once, or the path of a model. */
export async function benchModel(name: string): Promise<BenchModel> {
  switch (name) {
    case 'sd15':
      return { file: await sd15Model(), side: 512, sizes: name }
    case 'sdxl':
      return { file: await sdxlModel(), side: 1024, sizes: name }
    default:
      return { file: name, side: 512 }
  }
}
