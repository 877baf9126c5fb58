/** Ending a call early, for whichever reason comes first. */
import { setMaxListeners } from 'node:events'

import { CallersOwn, MagicMixError } from './errors.js'

/**
 * Watches what may end a call: the caller's signal, a time limit, and whoever calls
 * {@link because}. To be released when the call ends.
 */
export class Stop {
  private readonly controller = new AbortController()
  private readonly timer: NodeJS.Timeout | undefined
  private readonly onAbort = () => this.because(new CallersOwn(this.caller?.reason))

  /** @param timeLimit in ms */
  constructor(
    private readonly caller: AbortSignal | undefined,
    timeLimit: number | undefined,
  ) {
    allowManyListeners(this.signal)
    allowManyListeners(caller)
    caller?.addEventListener('abort', this.onAbort, { once: true })
    if (caller?.aborted) this.onAbort()
    if (timeLimit !== undefined) {
      this.timer = setTimeout(() => this.because(timedOut(timeLimit)), timeLimit)
    }
  }

  /** Aborts when the call has to end. Its reason is what the call throws. */
  get signal(): AbortSignal {
    return this.controller.signal
  }

  /** Ends the call with `reason`, unless it ends already. */
  because(reason: unknown): void {
    this.controller.abort(reason)
  }

  /** What `work` gives, or the end of the call if that comes first. */
  async race<T>(work: Promise<T>): Promise<T> {
    const { signal } = this
    signal.throwIfAborted()
    let onStop = () => {}
    const stopping = new Promise<never>((_, reject) => {
      onStop = () => reject(signal.reason as Error)
      signal.addEventListener('abort', onStop, { once: true })
    })
    try {
      return await Promise.race([work, stopping])
    } finally {
      signal.removeEventListener('abort', onStop)
      work.catch(() => {}) // nobody waits for it any more
      stopping.catch(() => {})
    }
  }

  release(): void {
    clearTimeout(this.timer)
    this.caller?.removeEventListener('abort', this.onAbort)
  }
}

/** Many calls may share a signal: that is no leak, and Node is not to warn of one. */
export function allowManyListeners(signal: AbortSignal | undefined): void {
  try {
    if (signal) setMaxListeners(0, signal)
  } catch {
    // Another library's signal; Node does not count its listeners.
  }
}

function timedOut(limit: number): MagicMixError {
  return new MagicMixError(
    'TIMED_OUT',
    `The mix took longer than the ${limit} ms that this mixer allows (timeLimit), waiting included`,
    { timeLimit: limit },
  )
}
