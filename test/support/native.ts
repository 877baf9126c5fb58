/** The engine behind a mixer, for tests of its parts. */
import type { MagicMix } from 'magicmix'

import { native } from '../../dist/native.js'
import type { NativeMixer } from '../../dist/native.js'
import { packageRoot } from './package-root.js'

export { native, packageRoot }

/** Internal, and so not in the published types. */
export function nativeOf(mixer: MagicMix): NativeMixer {
  return (mixer as unknown as { readonly native: NativeMixer }).native
}

/** The 77 ids that the text encoder sees: `ids` from BOS to the first EOS, then more EOS. */
export function padded(ids: ArrayLike<number>): Int32Array {
  const context = new Int32Array(77).fill(49407)
  context.set(ids)
  return context
}

/** The 77 ids of a text. */
export async function idsOf(mixer: MagicMix, text: string): Promise<Int32Array> {
  return padded((await mixer.tokenize(text)).map(({ id }) => id))
}
