/** A server with the model in the box, and a client that knows what its answers should look like. */
import { MagicMix } from 'magicmix'
import { type Job, type MagicMixServer, type ServerOptions, createServer } from 'magicmix-server'

export interface Served {
  mixer: MagicMix
  server: MagicMixServer
  /** 'http://127.0.0.1:PORT' */
  address: string
}

/** Listens at a port of its own; `end` closes it. */
export async function served(
  options: ServerOptions = {},
): Promise<Served & { end(): Promise<void> }> {
  const mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
  const limits = { ratePerMinute: 1e6, ...options.limits }
  const server = await createServer({ mixer, ...options, limits })
  const address = await server.listen()
  const end = async () => {
    await server.close()
    await mixer.dispose()
  }
  return { mixer, server, address, end }
}

/** A mix of some tenths of a second. */
export const small = {
  layout: { prompt: 'a photo of a pear' },
  content: 'a photo of a lemon',
  steps: 4,
  seed: 7,
} as const
/** One that does not end by itself while a test looks at it. */
export const long = { ...small, steps: 150, width: 256, height: 256 } as const

export interface Answer<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
}

export interface JsonJob extends Job {
  links: Record<string, string>
}

export class Client {
  constructor(
    readonly address: string,
    private readonly headers: Record<string, string> = {},
  ) {}

  /** Answers in JSON. */
  async send<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const isForm = body instanceof FormData
    const response = await fetch(this.address + path, {
      method,
      headers: {
        ...(body === undefined || isForm ? {} : { 'content-type': 'application/json' }),
        ...this.headers,
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: isForm || typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : { text }) as T,
    }
  }

  async picture(path: string, accept?: string): Promise<{ response: Response; bytes: Buffer }> {
    const headers = { ...this.headers, ...(accept === undefined ? {} : { accept }) }
    const response = await fetch(this.address + path, { headers })
    return { response, bytes: Buffer.from(await response.arrayBuffer()) }
  }

  /** Submits a job that has to be taken. */
  async submit(path: '/v1/mixes' | '/v1/sweeps', body: unknown): Promise<JsonJob> {
    const answer = await this.send<JsonJob>('POST', path, body)
    if (answer.status !== 202) throw new Error(JSON.stringify(answer.body))
    return answer.body
  }

  /** To the end of a job. */
  async finish({ links }: JsonJob): Promise<JsonJob> {
    await this.events(links.events ?? '')
    return (await this.send<JsonJob>('GET', links.self ?? '')).body
  }

  async events(path: string, lastEventId?: number): Promise<Event[]> {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) }
    const response = await fetch(this.address + path, { headers: { ...this.headers, ...headers } })
    return eventsIn(await response.text())
  }
}

export interface Event {
  id: number
  event: string
  data: Record<string, unknown>
}

export function eventsIn(text: string): Event[] {
  return text.split('\n\n').flatMap((block) => {
    const [, id = '', event = '', data = ''] =
      /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(block) ?? []
    return id === '' ? [] : [{ id: Number(id), event, data: JSON.parse(data) as Event['data'] }]
  })
}
