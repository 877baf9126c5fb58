/** What other processes tell: a connection that does nothing but listen. */
import type { Redis } from 'ioredis'

type Listener = (message: string) => void

export class News {
  private readonly listeners = new Map<string, Set<Listener>>()
  private readonly all = new Set<() => void>()

  constructor(private readonly redis: Redis) {
    redis.on('message', (channel: string, message: string) => {
      for (const listener of this.listeners.get(channel) ?? []) listener(message)
    })
    // Something may have been missed.
    redis.on('ready', () => {
      for (const wake of this.all) wake()
    })
  }

  /** Resolves, once nothing is missed any more, to how to stop it. */
  async listen(channel: string, listener: Listener): Promise<() => void> {
    const listeners = this.listeners.get(channel) ?? new Set()
    this.listeners.set(channel, listeners.add(listener))
    // For each: who comes second must not be told before Redis has heard of it.
    await this.redis.subscribe(channel)
    return () => {
      listeners.delete(listener)
      if (listeners.size > 0 || this.listeners.get(channel) !== listeners) return
      this.listeners.delete(channel)
      this.redis.unsubscribe(channel).catch(() => {}) // it is being closed
    }
  }

  /** Called when the connection comes back. */
  onReturn(wake: () => void): () => void {
    this.all.add(wake)
    return () => void this.all.delete(wake)
  }
}
