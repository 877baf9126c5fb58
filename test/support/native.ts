/** The engine behind a mixer, for tests of its parts. */
import type { MagicMix } from 'magicmix'

import { native as load } from '../../dist/native/native.js'
import type { NativeMixer } from '../../dist/native/contract.js'
import { packageRoot } from './package-root.js'

export { packageRoot }

export const native = load()

/** The facade keeps it private. */
export function nativeOf(mixer: MagicMix): NativeMixer {
  return mixer['native'] as NativeMixer
}

/** The 77 ids that the text encoder sees: `ids` from BOS to the first EOS, then EOS, or 0 in 2.x. */
export function padded(ids: ArrayLike<number>, mixer: MagicMix): Int32Array {
  const context = new Int32Array(77).fill(mixer.model.sizes.textEncoder.padding)
  context.set(ids)
  return context
}

/** The 77 ids of a text. */
export function idsOf(mixer: MagicMix, text: string): Int32Array {
  return padded(
    mixer.tokenize(text).map(({ id }) => id),
    mixer,
  )
}
