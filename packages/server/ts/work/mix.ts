/** A mix, from its order to its picture. */
import type { MagicMix, Mix, MixRequest, ProgressEvent } from 'magicmix'

import type { Report } from '../jobs/jobs.js'
import { InOrder, previewOf } from './previews.js'

export async function workOnMix(
  mixer: MagicMix,
  request: Record<string, unknown>,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const told = new InOrder()
  const onProgress = (event: ProgressEvent) => {
    told.then(() => report.event('progress', progressOf(event)))
    if (event.preview) told.then(async () => report.event('preview', await previewOf(event)))
  }
  // `mix` checks whatever it gets.
  const mix = await mixer.mix({ ...(request as unknown as MixRequest), signal, onProgress })
  await told.done()
  report.blob('picture', await mix.toBuffer({ format: 'png', recipe: true }))
  report.result(resultOf(mix))
}

/** The data of a `progress`. */
export function progressOf({ stage, step, steps, etaMs, position }: ProgressEvent) {
  return { stage, step, steps, etaMs, ...(position === undefined ? {} : { position }) }
}

function resultOf({ width, height, seed, timings, unetCalls, recipe }: Mix) {
  return { width, height, seed, timings, unetCalls, recipe }
}
