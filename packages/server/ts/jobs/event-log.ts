/** The events of one job, for readers that come late, go, and come back. */
import type { EventName, JobEvent } from './jobs.js'

/** Older ones are left out: a reader that has missed them sees how far the job is by the others. */
const mostKept = 1000

export class EventLog {
  private kept: JobEvent[] = []
  private last = 0
  private hasEnded = false
  private readonly waiting = new Set<() => void>()

  add(event: EventName, data: Record<string, unknown>): void {
    if (this.hasEnded) return
    // Previews are large, and only the latest is of use.
    if (event === 'preview') this.kept = this.kept.filter((each) => each.event !== 'preview')
    this.kept.push({ id: ++this.last, event, data })
    if (this.kept.length > mostKept) this.kept.shift()
    this.hasEnded = event === 'end'
    for (const wake of this.waiting) wake()
    this.waiting.clear()
  }

  /** Those after `id`, and those to come until the job ends or the signal aborts. */
  async *after(id: number, signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    // An id that this log never gave is of another life of the server: all over again.
    let seen = id > this.last ? 0 : id
    for (;;) {
      // Looked up anew each time: a slow reader misses what has been left out meanwhile, and holds nothing.
      const next = this.kept.find((each) => each.id > seen)
      if (signal.aborted) return
      if (next) {
        seen = next.id
        yield next
      } else if (this.hasEnded) return
      else await this.change(signal)
    }
  }

  private change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake)
        this.waiting.delete(wake)
        resolve()
      }
      this.waiting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }
}
