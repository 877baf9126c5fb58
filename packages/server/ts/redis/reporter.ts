/** What a job tells, on its way to Redis: in order, while the work goes on. */
import type { Report } from '../jobs/jobs.js'
import { serverProblem } from '../problem.js'
import type { Standing, Store } from './store.js'

export class Reporter implements Report {
  private last: Promise<void> = Promise.resolve()

  /** @param onStanding told when Redis says that the work is not wanted any more */
  constructor(
    private readonly store: Store,
    private readonly id: string,
    private readonly attempt: string,
    private readonly mostBytes: number,
    private readonly onStanding: (standing: Exclude<Standing, 'ok'>) => void,
  ) {}

  event(...[event, data]: Parameters<Report['event']>): void {
    const json = JSON.stringify(data)
    this.then(() => this.store.event(this.id, this.attempt, event, json))
  }

  blob(name: string, png: Buffer): void {
    this.then(() => {
      if (png.length <= this.mostBytes) return this.store.blob(this.id, this.attempt, name, png)
      const message = `The ${name} has ${png.length} bytes, and at most ${this.mostBytes} are kept`
      throw serverProblem('TOO_LARGE', message)
    })
  }

  result(result: Record<string, unknown>): void {
    // As it is now: it may change while it waits.
    const json = JSON.stringify(result)
    this.then(() => this.store.result(this.id, this.attempt, json))
  }

  /** Resolves when all of it has arrived. */
  done(): Promise<void> {
    return this.last
  }

  private then(send: () => Promise<Standing>): void {
    this.last = this.last.then(async () => {
      const standing = await send()
      if (standing !== 'ok') this.onStanding(standing)
    })
    this.last.catch(() => {}) // `done` tells
  }
}
