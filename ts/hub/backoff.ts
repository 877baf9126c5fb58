/** When to try again, and when to give up. */
import { setTimeout as pause } from 'node:timers/promises'

import type { MagicMixError } from '../errors.js'

/** A failure that may pass by itself. */
export class PassingFailure {
  constructor(
    readonly error: MagicMixError,
    /** How long the server asks to wait. */
    readonly waitMs = 0,
  ) {}
}

const tries = 6
const longestWaitMs = 60_000

/** Waits after each failure in a row, twice as long each time. */
export class Backoff {
  /** Tests set less. */
  static firstWaitMs = 500
  private failures = 0

  constructor(private readonly signal: AbortSignal) {}

  /** There was progress. */
  renew(): void {
    this.failures = 0
  }

  /** Waits before another try; throws if another try is useless, or was the last. */
  async after(failure: unknown): Promise<void> {
    if (!(failure instanceof PassingFailure)) throw failure
    if (++this.failures >= tries) throw failure.error
    const wait = Math.max(failure.waitMs, Backoff.firstWaitMs * 2 ** (this.failures - 1))
    await pause(Math.min(wait, longestWaitMs), undefined, { signal: this.signal })
  }
}
