/** The mixes of one mixer: whose turn it is, and what has become of them. */
import { performance } from 'node:perf_hooks'

import { MagicMixError } from './errors.js'

/**
 * How busy a mixer is.
 *
 * @example
 * ```ts
 * const mixes = [mixer.mix(request), mixer.mix(request)]
 * const { running, waiting } = mixer.queue
 * console.log(`${running} run, ${waiting} wait`) // 0 run, 2 wait: their layouts are read first
 * await Promise.all(mixes)
 * ```
 */
export interface Queue {
  /** Mixes that the engine works on: 0 or 1. */
  readonly running: number
  /** Mixes that wait for it, or whose layout is being read. */
  readonly waiting: number
}

/**
 * Of some times, in milliseconds.
 *
 * @example
 * ```ts
 * const { count, median, p95 } = mixer.stats().stepTimes
 * console.log(`the latest ${count} steps: median ${median.toFixed()} ms, p95 ${p95.toFixed()} ms`)
 * ```
 */
export interface Times {
  /** How many they are: the latest 1000 at most. */
  readonly count: number
  /** Their mean; 0 if there are none, as with the others. */
  readonly mean: number
  /** The median. */
  readonly median: number
  /** Nineteen of twenty are not longer. */
  readonly p95: number
  /** The longest. */
  readonly max: number
}

/**
 * What a mixer has done since it was loaded.
 *
 * @example
 * ```ts
 * const { done, failed, waiting, waitTimes, memory } = mixer.stats()
 * console.log(`${done} mixes done, ${failed} failed, ${waiting} wait (${waitTimes.mean.toFixed()} ms)`)
 * console.log(`weights ${memory.weights} bytes, the process ${memory.process}`)
 * ```
 */
export interface MixerStats extends Queue {
  /** Mixes that gave a picture. */
  readonly done: number
  /** Mixes that ended with an error, those refused by a full queue or a time limit among them. */
  readonly failed: number
  /** Mixes that were ended from outside: by their signal or with the mixer. */
  readonly stopped: number
  /** Of the steps of the sampler. */
  readonly stepTimes: Times
  /** From when the layout was read to when the engine began. */
  readonly waitTimes: Times
  /** From the call of `mix` to its picture. */
  readonly totalTimes: Times
  /** In bytes. */
  readonly memory: {
    /** Of the weights. */
    readonly weights: number
    /** Resident in the whole process, other mixers and the program itself included. */
    readonly process: number
  }
}

/** How a mix ended. */
export type Outcome = 'done' | 'failed' | 'stopped'

/**
 * Mixes run one after the other. Of those whose layout has been read the one that was asked for
 * first comes next: a layout that never ends holds up nobody else.
 */
export class MixQueue {
  /** All that have not ended, in the order in which they were asked for. */
  private readonly turns = new Set<Turn>()
  private engine: Turn | undefined
  private readonly ended: Record<Outcome, number> = { done: 0, failed: 0, stopped: 0 }
  readonly stepTimes = new Latest()
  readonly waitTimes = new Latest()
  readonly totalTimes = new Latest()

  /** @param most mixes that may wait beside the one that runs */
  constructor(private readonly most: number) {}

  get state(): Queue {
    const running = this.engine ? 1 : 0
    return { running, waiting: this.turns.size - running }
  }

  get counts(): Record<Outcome, number> {
    return { ...this.ended }
  }

  /** @throws {@link MagicMixError} QUEUE_FULL */
  enter(): Turn {
    if (this.turns.size > this.most) {
      this.ended.failed++
      const waiting = this.turns.size - (this.engine ? 1 : 0)
      throw new MagicMixError(
        'QUEUE_FULL',
        `${waiting} mixes wait already, and this mixer lets ${this.most} wait (maxQueue): try again later`,
        { waiting, maxQueue: this.most },
      )
    }
    const turn = new Turn(this)
    this.turns.add(turn)
    return turn
  }

  /** @internal for {@link Turn} */
  leave(turn: Turn, outcome: Outcome, mixes: number): void {
    this.turns.delete(turn)
    this.ended[outcome] += mixes
    if (this.engine === turn) this.engine = undefined
    this.advance()
  }

  /** @internal for {@link Turn}: gives the engine to the next, and tells the others their places */
  advance(): void {
    const ready = [...this.turns].filter((turn) => turn !== this.engine && turn.isReady)
    if (!this.engine) {
      this.engine = ready.shift()
      this.engine?.begin()
    }
    ready.forEach((turn, ahead) => turn.tell(ahead + 1))
  }
}

/** The place of one mix in the queue. */
export class Turn {
  isReady = false
  private place = 0
  private onPlace: ((place: number) => void) | undefined
  private onTurn: () => void = () => {}

  constructor(private readonly queue: MixQueue) {}

  /**
   * Says that the mix can begin. Resolves when the engine is its own, with the milliseconds that it
   * has waited.
   *
   * @param onPlace gets the number of mixes that come before it, whenever that changes
   */
  async ready(onPlace?: (place: number) => void): Promise<number> {
    const since = performance.now()
    const turn = new Promise<void>((resolve) => (this.onTurn = resolve))
    this.isReady = true
    this.onPlace = onPlace
    this.queue.advance()
    await turn
    const waited = performance.now() - since
    this.queue.waitTimes.add(waited)
    return waited
  }

  /**
   * To be called once, however the mix ends.
   *
   * @param mixes how many it was, computed together
   */
  end(outcome: Outcome, mixes = 1): void {
    this.isReady = false
    this.queue.leave(this, outcome, mixes)
  }

  begin(): void {
    this.onTurn()
  }

  tell(place: number): void {
    if (place === this.place) return
    this.place = place
    this.onPlace?.(place)
  }
}

/** The latest of many times. */
class Latest {
  private readonly values: number[] = []
  private next = 0

  add(ms: number): void {
    this.values[this.next] = ms
    this.next = (this.next + 1) % 1000
  }

  get summary(): Times {
    const sorted = [...this.values].sort((a, b) => a - b)
    const count = sorted.length
    if (count === 0) return { count, mean: 0, median: 0, p95: 0, max: 0 }
    const at = (share: number) => sorted[Math.ceil(share * count) - 1] ?? 0
    const mean = sorted.reduce((sum, ms) => sum + ms, 0) / count
    return { count, mean, median: at(0.5), p95: at(0.95), max: at(1) }
  }
}
