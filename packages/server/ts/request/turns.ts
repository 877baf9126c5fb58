/** Work of many requests that came at once, spread over turns of the event loop, so that others come in between. */
import { setImmediate } from 'node:timers/promises'

export class Turns {
  private last: Promise<unknown> = Promise.resolve()

  /** Begins `work` in a turn of its own. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.last.then(() => setImmediate())
    this.last = mine
    return mine.then(work)
  }
}
