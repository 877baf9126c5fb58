/** The server's API, as the page uses it. */

/** A job; see /openapi.json. */
export interface Job {
  id: string
  status: 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
  position: number | null
  error: { code: string; message: string; details?: Record<string, unknown> } | null
  result: Record<string, unknown> | null
  links: Record<string, string>
}

export interface JobEvent {
  id: number
  event: string
  data: Record<string, unknown>
}

export interface Schema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly Schema[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly minimum?: number
  readonly maximum?: number
  readonly multipleOf?: number
  readonly default?: unknown
  readonly description?: string
  readonly deprecated?: boolean
}

export interface Capabilities {
  limits: Record<string, number>
  loras: string[]
  pictures: string[]
  requests: { mix: Schema; sweep: Schema }
}

/** What the server says is wrong: `application/problem+json`. */
export class Problem extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message)
  }
}

const tokenKey = 'magicmix-token'
/** Broken off so often without anything new, a stream is given up. */
const mostTries = 5

export class Api {
  private token = sessionStorage.getItem(tokenKey) ?? ''
  private asking: Promise<void> | undefined

  /** @param askToken shows `message` and gives what people type */
  constructor(private readonly askToken: (message: string) => Promise<string>) {}

  async get<T>(path: string): Promise<T> {
    return (await (await this.send(path)).json()) as T
  }

  /** @param body a form, or what becomes JSON */
  async post<T>(path: string, body?: unknown): Promise<T> {
    const isForm = body instanceof FormData
    const response = await this.send(path, {
      method: 'POST',
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
      headers: body === undefined || isForm ? {} : { 'content-type': 'application/json' },
    })
    return (await response.json()) as T
  }

  async picture(path: string): Promise<Blob> {
    const response = await this.send(path, { headers: { accept: 'image/png' } })
    return response.blob()
  }

  /** Those of a job, to its end; goes on where it was if the connection breaks. */
  async *events(path: string): AsyncGenerator<JobEvent, void, undefined> {
    let last = 0
    for (let tries = 0; ; tries++) {
      try {
        const headers: Record<string, string> = last > 0 ? { 'last-event-id': String(last) } : {}
        const response = await this.send(path, { headers })
        for await (const event of eventsIn(response)) {
          tries = 0
          last = event.id
          yield event
          if (event.event === 'end') return
        }
      } catch (error) {
        if (error instanceof Problem && error.status > 0) throw error
        if (tries >= mostTries) throw error
      }
      if (tries >= mostTries) throw unreachable()
      await new Promise((resolve) => setTimeout(resolve, 500 * (tries + 1)))
    }
  }

  private async send(path: string, init: RequestInit = {}): Promise<Response> {
    // Beside the page, wherever a proxy has put it.
    const address = new URL(path.replace(/^\//, ''), document.baseURI)
    for (;;) {
      const { token } = this
      const headers = new Headers(init.headers)
      if (token !== '') headers.set('authorization', `Bearer ${token}`)
      const response = await fetch(address, { ...init, headers }).catch(() => {
        throw unreachable()
      })
      if (response.ok) return response
      const problem = await problemOf(response)
      if (problem.status !== 401) throw problem
      // Others may have asked meanwhile.
      if (token === this.token) await this.renewToken(token === '' ? '' : 'That is not its token.')
    }
  }

  private renewToken(message: string): Promise<void> {
    this.asking ??= this.askToken(message)
      .then((token) => {
        this.token = token
        sessionStorage.setItem(tokenKey, token)
      })
      .finally(() => {
        this.asking = undefined
      })
    return this.asking
  }
}

function unreachable(): Problem {
  return new Problem('The server does not answer. Is it still running?', 0, 'UNREACHABLE')
}

async function problemOf(response: Response): Promise<Problem> {
  const { status } = response
  try {
    const { detail, code, details } = (await response.json()) as {
      detail: string
      code: string
      details?: Record<string, unknown>
    }
    return new Problem(detail, status, code, details)
  } catch {
    return new Problem(`The server answered with status ${status}.`, status, 'UNKNOWN')
  }
}

async function* eventsIn({ body }: Response): AsyncGenerator<JobEvent, void, undefined> {
  if (!body) return
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      text += value
      const blocks = text.split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const [, id, event, data] = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(block) ?? []
        if (id === undefined || event === undefined || data === undefined) continue
        yield { id: Number(id), event, data: JSON.parse(data) as Record<string, unknown> }
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined)
  }
}
