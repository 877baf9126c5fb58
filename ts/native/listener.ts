/** Calls the caller's `onProgress`. */
import { AsyncResource } from 'node:async_hooks'

import type { ProgressListener } from '../progress.js'

/**
 * An `onProgress` in the context of its own caller: the addon calls back in that of the load, but
 * AsyncLocalStorage must see the caller's store. Throwing and rejecting are the same to it.
 */
export class Listener<Event> {
  private readonly call: ProgressListener<Event>
  private readonly unsettled: Promise<void>[] = []

  /** @param failed gets what the listener throws, or its promise rejects with */
  constructor(
    onProgress: ProgressListener<Event>,
    private readonly failed: (error: unknown) => void,
  ) {
    this.call = AsyncResource.bind(onProgress)
  }

  notify(event: Event): void {
    try {
      const returned = this.call(event)
      if (isThenable(returned)) {
        this.unsettled.push(Promise.resolve(returned).then(() => {}, this.failed))
      }
    } catch (error) {
      this.failed(error)
    }
  }

  /** Resolves when all promises that the listener returned so far have settled. */
  async settled(): Promise<void> {
    await Promise.all(this.unsettled)
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function'
}
