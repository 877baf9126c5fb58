/**
 * A hub for tests: speaks what of the hub's HTTP interface downloads use, on a port of its own, and
 * sends to another port, "the storage", for large files. It can be told to misbehave.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, stat } from 'node:fs/promises'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'

export interface HubFile {
  bytes: number
  etag: string
  isLarge: boolean
  content: Buffer
}

export interface Asked {
  from: 'hub' | 'storage'
  path: string
  range: string | undefined
  authorization: string | undefined
}

/** Answers a request otherwise; returns false to have it answered as usual. */
export type Misbehaviour = (
  request: IncomingMessage,
  response: ServerResponse,
  from: Asked['from'],
) => boolean

export const commit = '0123456789abcdef0123456789abcdef01234567'

export class HubServer {
  /** Repositories by name, their files by path. */
  readonly repos = new Map<string, Map<string, HubFile>>()
  asked: Asked[] = []
  misbehave: Misbehaviour = () => false
  /** Entries of listings, changed as a test likes. */
  changeEntry: (entry: Record<string, unknown>) => Record<string, unknown> = (entry) => entry

  /** Addresses of further pages of listings, changed as a test likes. */
  changeNext: (address: string) => string = (address) => address

  private constructor(
    private readonly hub: Server,
    private readonly storage: Server,
  ) {}

  static async start(): Promise<HubServer> {
    const server = new HubServer(createServer(), createServer())
    server.hub.on('request', server.answering('hub'))
    server.storage.on('request', server.answering('storage'))
    for (const each of [server.hub, server.storage]) {
      each.listen(0, '127.0.0.1')
      await once(each, 'listening')
    }
    return server
  }

  async stop(): Promise<void> {
    for (const server of [this.hub, this.storage]) {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }

  get address(): string {
    return addressOf(this.hub)
  }

  get storageAddress(): string {
    return addressOf(this.storage)
  }

  /** Forgets what was asked and how to misbehave. */
  reset(): void {
    this.asked = []
    this.misbehave = () => false
    this.changeEntry = (entry) => entry
    this.changeNext = (address) => address
  }

  add(repo: string, files: Record<string, Buffer | string>): void {
    const entries = Object.entries(files).map(([name, content]) => {
      return [name, hubFile(name, Buffer.from(content))] as const
    })
    this.repos.set(repo, new Map(entries))
  }

  async addFolder(repo: string, folder: string): Promise<void> {
    const files: Record<string, Buffer> = {}
    for (const name of await readdir(folder, { recursive: true })) {
      const file = path.join(folder, name)
      if ((await stat(file)).isFile()) files[name] = await readFile(file)
    }
    this.add(repo, files)
  }

  file(repo: string, name: string): HubFile {
    return this.repos.get(repo)!.get(name)!
  }

  /** Paths of the files whose content was asked for. */
  get downloads(): string[] {
    return this.asked.filter((each) => each.path.includes('/resolve/')).map((each) => each.path)
  }

  private answering(from: Asked['from']) {
    return (request: IncomingMessage, response: ServerResponse) => {
      const { pathname } = new URL(request.url!, this.address)
      const { range, authorization } = request.headers
      this.asked.push({ from, path: pathname, range, authorization })
      if (this.misbehave(request, response, from)) return
      if (from === 'storage') this.sendContent(request, response, pathname.slice(1))
      else this.answer(request, response, decodeURIComponent(pathname))
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse, pathname: string): void {
    const [, api, resolve] =
      /^\/api\/models\/([^/]+\/[^/]+\/.*)$|^\/([^/]+\/[^/]+\/resolve\/.*)$/.exec(pathname) ?? []
    const [org, name, what, ...rest] = (api ?? resolve ?? '').split('/')
    const repo = `${org}/${name}`
    const files = this.repos.get(repo)
    if (!files) return refuse(response, 404, 'RepoNotFound')
    if (what === 'revision') {
      if (!['main', 'v1', 'refs/pr/1', commit].includes(rest.join('/'))) {
        return refuse(response, 404, 'RevisionNotFound')
      }
      return sendJson(response, { id: repo, sha: commit, cardData: { license: 'mit' } })
    }
    if (what === 'tree') return this.sendTree(request, response, files)
    return this.sendFile(request, response, repo, rest.slice(1).join('/'))
  }

  /** Two entries a page. */
  private sendTree(
    request: IncomingMessage,
    response: ServerResponse,
    files: Map<string, HubFile>,
  ) {
    const url = new URL(request.url!, this.address)
    const start = Number(url.searchParams.get('cursor') ?? 0)
    const entries = [...files].slice(start, start + 2).map(([name, { bytes, etag, isLarge }]) => {
      const pointer = createHash('sha1').update(etag).digest('hex')
      return this.changeEntry({
        type: 'file',
        path: name,
        size: bytes,
        oid: isLarge ? pointer : etag,
        ...(isLarge ? { lfs: { oid: etag, size: bytes, pointerSize: 134 } } : {}),
      })
    })
    if (start + 2 < files.size) {
      url.searchParams.set('cursor', String(start + 2))
      response.setHeader('link', `<${this.changeNext(url.href)}>; rel="next"`)
    }
    sendJson(response, [{ type: 'directory', path: 'unet', size: 0, oid: commit }, ...entries])
  }

  private sendFile(request: IncomingMessage, response: ServerResponse, repo: string, name: string) {
    const file = this.repos.get(repo)?.get(name)
    response.setHeader('x-repo-commit', commit)
    if (!file) return refuse(response, 404, 'EntryNotFound')
    if (!file.isLarge) return this.sendContent(request, response, `${repo}/${name}`)
    response.writeHead(302, {
      location: `${this.storageAddress}/${repo}/${name}`,
      'x-linked-etag': `"${file.etag}"`,
      'x-linked-size': file.bytes,
    })
    response.end()
  }

  private sendContent(request: IncomingMessage, response: ServerResponse, where: string): void {
    const [org, name, ...rest] = where.split('/')
    const file = this.file(`${org}/${name}`, rest.join('/'))
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(start > 0 ? 206 : 200, {
      etag: `"${file.etag}"`,
      'content-length': file.bytes - start,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${file.bytes - 1}/${file.bytes}` } : {}),
    })
    response.end(file.content.subarray(start))
  }
}

function hubFile(name: string, content: Buffer): HubFile {
  const isLarge = /\.(safetensors|bin|ckpt)$/.test(name)
  const header = `blob ${content.length}\0`
  return {
    bytes: content.length,
    etag: isLarge
      ? createHash('sha256').update(content).digest('hex')
      : createHash('sha1').update(header).update(content).digest('hex'),
    isLarge,
    content,
  }
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { 'x-error-code': reason }).end(reason)
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(value))
}
