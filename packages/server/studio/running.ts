/** The job that this tab waits for, so that a page that is loaded again goes on with it. */
import type { Archive } from './archive.js'
import type { Draft } from './draft.js'
import type { Axis } from './grid.js'

export interface Running {
  /** The job's own address. */
  self: string
  draft: Draft
  /** Of a grid. */
  axes: readonly Axis[] | null
  /** When it was begun, in milliseconds since 1970. */
  began: number
}

const key = 'magicmix-running'

export class RunningJob {
  constructor(private readonly archive: Archive) {}

  async keep(running: Running): Promise<void> {
    await this.archive.keepRunning(running)
    sessionStorage.setItem(key, running.self)
  }

  /** What an earlier page of this tab waited for. */
  async left(): Promise<Running | undefined> {
    const self = sessionStorage.getItem(key)
    return self === null ? undefined : this.archive.running(self)
  }

  async forget(): Promise<void> {
    const self = sessionStorage.getItem(key)
    if (self === null) return
    sessionStorage.removeItem(key)
    await this.archive.forgetRunning(self)
  }
}
