/** A mix that is quick, and whose states tell models apart. */
import { MagicMix } from 'magicmix'
import type { LoadOptions, Mix, MixState } from 'magicmix'

import { fixture } from './package-root.js'

export function smallMix(mixer: MagicMix): Promise<Mix> {
  return mixer.mix({
    layout: fixture('landscape64.png'),
    content: 'a corgi',
    steps: 4,
    seed: 1,
    width: 64,
    height: 64,
    trace: true,
  })
}

/** The states of a small mix with a model that lives only for it. */
export async function statesOf(
  model: string,
  options: Partial<LoadOptions> = {},
): Promise<MixState[]> {
  const mixer = await MagicMix.load({ model, device: 'cpu', threads: 1, ...options })
  try {
    return (await smallMix(mixer)).trace
  } finally {
    await mixer.dispose()
  }
}
