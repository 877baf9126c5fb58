/**
 * Requests to the hub: the token goes to the hub and nowhere else, answers are bounded, what may
 * pass by itself is tried again, and the rest becomes an error that says what to do.
 */
import { MagicMixError, type MagicMixErrorCode } from '../errors.js'
import { accessToken, endpoint } from './environment.js'
import { PassingFailure, Backoff } from './backoff.js'
import { type Reference, similarRepo } from './references.js'

const mostAnswerBytes = 64 * 2 ** 20

/** Asks the hub for one repository's files. */
export class Connection {
  private constructor(
    readonly endpoint: string,
    private readonly token: string | undefined,
    private readonly reference: Reference,
    readonly signal: AbortSignal,
  ) {}

  static async open(reference: Reference, signal: AbortSignal): Promise<Connection> {
    return new Connection(endpoint(), await accessToken(), reference, signal)
  }

  /** Address of a file's content; it usually leads on to a storage server elsewhere. */
  addressOf(commit: string, file: string): string {
    const path = file.split('/').map(encodeURIComponent).join('/')
    return `${this.endpoint}/${this.reference.repo}/resolve/${commit}/${path}`
  }

  /** Asks once. Resolves to an answer of success, its body unread. */
  async get(address: string, headers: Record<string, string> = {}): Promise<Response> {
    // On the way to another origin fetch takes the token away.
    const ours = new URL(address).origin === new URL(this.endpoint).origin
    const authorization = ours && this.token ? { authorization: `Bearer ${this.token}` } : {}
    let response: Response
    try {
      response = await fetch(address, {
        headers: { ...headers, ...authorization },
        signal: this.signal,
      })
    } catch (error) {
      throw this.broken(address, error)
    }
    if (response.ok) return response
    await response.body?.cancel().catch(() => undefined)
    throw this.refused(response)
  }

  /** `fetch` for @huggingface/hub, which asks for descriptions: small, and asked for until they come. */
  readonly fetch = async (input: unknown, init?: RequestInit): Promise<Response> => {
    const backoff = new Backoff(this.signal)
    for (;;) {
      try {
        const response = await this.get(String(input), init?.headers as Record<string, string>)
        return new Response(await this.read(response), { headers: response.headers })
      } catch (failure) {
        await backoff.after(failure)
      }
    }
  }

  /** The failure of a request or its answer on the network. */
  broken(address: string, error: unknown): unknown {
    if (this.signal.aborted) return error
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    const { message, code } = cause as Partial<NodeJS.ErrnoException>
    const reason = message || code || String(cause)
    const { host } = new URL(address)
    return new PassingFailure(
      this.error(
        'DOWNLOAD_FAILED',
        `the connection to ${host} failed (${reason}). HF_ENDPOINT can name a mirror of the hub`,
        { host, reason },
      ),
    )
  }

  /** An error about this repository. */
  error(
    code: MagicMixErrorCode,
    what: string,
    details: Readonly<Record<string, unknown>> = {},
  ): MagicMixError {
    const { repo, revision } = this.reference
    return new MagicMixError(code, `${repo}: ${what}`, { repo, revision, ...details })
  }

  private async read(response: Response): Promise<Blob> {
    const chunks: Uint8Array[] = []
    let bytes = 0
    try {
      for await (const chunk of response.body ?? []) {
        chunks.push(chunk as Uint8Array)
        bytes += (chunk as Uint8Array).length
        if (bytes > mostAnswerBytes) break
      }
    } catch (error) {
      throw this.broken(response.url, error)
    }
    if (bytes > mostAnswerBytes) {
      throw this.error(
        'DOWNLOAD_FAILED',
        `the hub describes it in more than ${mostAnswerBytes} bytes`,
      )
    }
    return new Blob(chunks)
  }

  private refused({ status, headers, url }: Response): unknown {
    const { repo, revision } = this.reference
    const reason = headers.get('x-error-code')
    const details = { status, host: new URL(url).host }
    const page = `${this.endpoint}/${repo}`

    // storage servers give no reason; their addresses expire, and the hub gives new ones
    const isHub = new URL(url).origin === new URL(this.endpoint).origin || reason !== null
    if (!isHub || status === 408 || status === 429 || status >= 500) {
      return new PassingFailure(
        this.error('DOWNLOAD_FAILED', `${details.host} answered with status ${status}`, details),
        1000 * Number(headers.get('retry-after') ?? 0) || 0,
      )
    }
    if (reason === 'RevisionNotFound') {
      return this.error('MODEL_NOT_FOUND', `there is no revision '${revision}'`, details)
    }
    if (reason === 'GatedRepo' || status === 403) {
      return this.error(
        'ACCESS_DENIED',
        `access is for those who have accepted its licence. Accept it at ${page}, make a token at ` +
          `${this.endpoint}/settings/tokens and set HF_TOKEN to it`,
        { ...details, page },
      )
    }
    if (status === 401 && this.token !== undefined && reason !== 'RepoNotFound') {
      return this.error('ACCESS_DENIED', `${details.host} does not accept the token`, details)
    }
    if (status === 401 || status === 404) {
      const similar = similarRepo(repo)
      return this.error(
        'MODEL_NOT_FOUND',
        `${details.host} has no such repository, or it is private and HF_TOKEN gives no access` +
          (similar === undefined || similar === repo ? '' : `; did you mean ${similar}?`),
        { ...details, ...(similar === undefined ? {} : { similar }) },
      )
    }
    return this.error('DOWNLOAD_FAILED', `${details.host} answered with status ${status}`, details)
  }
}
