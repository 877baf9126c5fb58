/** Comparing tensors. */

export interface Difference {
  /** ||actual - expected|| / ||expected|| in the L2 norm; the plain norm if that is of zeros */
  relativeL2: number
  /** largest absolute difference, and where it is */
  maxAbs: number
  worstIndex: number
  /** the two values there */
  actual: number
  expected: number
}

export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  if (actual.length !== expected.length) {
    throw new Error(`${actual.length} values instead of ${expected.length}`)
  }
  let squares = 0
  let reference = 0
  let maxAbs = -1
  let worstIndex = 0
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] as number
    const e = expected[i] as number
    const distance = Number.isFinite(a) ? Math.abs(a - e) : Infinity
    squares += distance * distance
    reference += e * e
    if (distance > maxAbs) {
      maxAbs = distance
      worstIndex = i
    }
  }
  return {
    relativeL2: Math.sqrt(squares / (reference || 1)),
    maxAbs: Math.max(maxAbs, 0),
    worstIndex,
    actual: actual[worstIndex] ?? NaN,
    expected: expected[worstIndex] ?? NaN,
  }
}

/** What to print of a difference that is too large. */
export function describeDifference(name: string, found: Difference, shape?: number[]): string {
  const at = shape ? `[${indicesOf(found.worstIndex, shape).join(', ')}]` : found.worstIndex
  return (
    `${name}: relative L2 error ${found.relativeL2.toExponential(2)}; worst at ${at}: ` +
    `expected ${found.expected}, got ${found.actual}`
  )
}

/** Throws unless `actual` is within `tolerance` (relative L2) of `expected`. */
export function assertClose(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  const found = difference(actual, expected)
  if (!(found.relativeL2 <= tolerance)) {
    throw new Error(`${describeDifference(name, found)}; allowed is ${tolerance.toExponential(2)}`)
  }
}

function indicesOf(flat: number, shape: number[]): number[] {
  const indices: number[] = []
  let rest = flat
  for (const side of [...shape].reverse()) {
    indices.unshift(rest % side)
    rest = Math.floor(rest / side)
  }
  return indices
}
