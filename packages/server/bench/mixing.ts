/** A client that mixes, for measurements and tests of load. */

export const mixRequest = {
  layout: { prompt: 'a photo of a pear' },
  content: 'a photo of a lemon',
  seed: 7,
} as const

export interface Client {
  /** From the request to the last byte of the picture. */
  mix(request: object): Promise<{ self: string; picture: Buffer }>
  /** Resolves when no job waits or runs. */
  idle(): Promise<void>
}

export function clientOf(address: string): Client {
  const json = async (path: string): Promise<unknown> => (await fetch(address + path)).json()
  return {
    async mix(request) {
      const taken = await fetch(`${address}/v1/mixes`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request),
      })
      const self = taken.headers.get('location')
      if (self === null) throw new Error(await taken.text())
      await (await fetch(`${address}${self}/events`)).text()
      const picture = await fetch(`${address}${self}/picture`)
      return { self, picture: Buffer.from(await picture.arrayBuffer()) }
    },
    async idle() {
      for (;;) {
        const { queued, running } = (await json('/health/ready')) as Record<string, number>
        if (queued === 0 && running === 0) return
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
  }
}
