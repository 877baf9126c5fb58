/** The types that `convert` writes. */
import type { StoredType } from 'magicmix'

export const quantisedTypes: StoredType[] = [
  ...(['q8_0', 'q6_k', 'q5_k', 'q5_1', 'q5_0', 'q4_k', 'q4_1', 'q4_0', 'q3_k', 'q2_k'] as const),
]
export const storedTypes: StoredType[] = ['f32', 'f16', 'bf16', ...quantisedTypes]
