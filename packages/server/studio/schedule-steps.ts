/** What every step of a mix does: which of the layout and the content is at work, and how much. */
import type { Nu } from './draft.js'

export interface Steps {
  /** Of every step, from noise to picture: the share of the content, 0..1. */
  shares: number[]
  /** Steps that a mix leaves out, because the layout's picture is there already; those of a layout prompt run. */
  before: number
  mixed: number
  alone: number
}

/** As the engine counts: 0.7 * 10 is a hair less than 7. */
const indexAt = (k: number, steps: number) => steps - Math.floor(k * steps + 1e-9)

export function stepsOfMix(kMax: number, kMin: number, nu: Nu, steps: number): Steps {
  const begin = indexAt(kMax, steps)
  const end = Math.max(begin, indexAt(kMin, steps))
  // The state at kMax is the layout's own, and the one at kMin is not mixed any more.
  const mixed = Math.max(0, end - begin - 1)
  const shares = Array.from({ length: steps }, (_, i) => {
    if (i <= begin && i < end) return 0
    return i >= end ? 1 : nuAt(nu, i - begin - 1, mixed)
  })
  return { shares, before: begin, mixed, alone: steps - end }
}

/** nu of the mixed state `i` of `states`. */
function nuAt(nu: Nu, i: number, states: number): number {
  if (typeof nu === 'number') return nu
  if (Array.isArray(nu)) return nu[Math.min(i, nu.length - 1)] ?? 0
  const time = states > 1 ? i / (states - 1) : 0
  const share = nu.curve === 'cosine' ? (1 - Math.cos(Math.PI * time)) / 2 : time
  return nu.from + (nu.to - nu.from) * share
}

/** The same in a sentence. */
export function inWords({ before, mixed, alone }: Steps, isPrompt: boolean): string {
  const start = isPrompt
    ? `${counted(before)} of the layout alone`
    : `${counted(before)} left out, where all is noise`
  const middle = mixed === 0 ? 'none is mixed' : `${mixed} mixed`
  return `${start}; ${middle}; ${alone} of the content alone.`
}

function counted(steps: number): string {
  return steps === 1 ? '1 step' : `${steps} steps`
}
