/** The hub's listing of a repository, checked: it decides where our files are written. */
import { MagicMixError } from '../errors.js'
import type { Connection } from './connection.js'
import { type License, type Reference, isSafePath } from './references.js'

/** A file of a repository on the hub. */
export interface RemoteFile {
  path: string
  bytes: number
  /**
   * What its content is known by, there and in the cache: SHA-256 in hex for large files (Git LFS),
   * git's own SHA-1 for the others.
   */
  etag: string
}

/** A repository at one commit. */
export interface Listing {
  commit: string
  license: License | undefined
  files: RemoteFile[]
}

const mostEntries = 100_000

/** Asks the hub for the commit that the reference means, and for the files there. */
export async function askForListing(
  reference: Reference,
  connection: Connection,
): Promise<Listing> {
  try {
    return await ask(reference, connection)
  } catch (error) {
    if (error instanceof MagicMixError || connection.signal.aborted) throw error
    // no JSON, or of another shape: a login page on the way, or no hub at all
    throw connection.error(
      'DOWNLOAD_FAILED',
      `${connection.endpoint} gave no answer of the hub (${(error as Error).message})`,
    )
  }
}

async function ask(
  { repo, revision, license }: Reference,
  connection: Connection,
): Promise<Listing> {
  // Late, since it is large; not by `import`, which Jest's and vitest's contexts do not have.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const { listFiles, modelInfo } = require('@huggingface/hub') as typeof import('@huggingface/hub')
  const hub = { hubUrl: connection.endpoint, fetch: connection.fetch as typeof fetch }
  const { sha, cardData } = await modelInfo({
    ...{ name: repo, revision, additionalFields: ['sha', 'cardData'] },
    ...hub,
  })
  const commit: unknown = sha
  if (typeof commit !== 'string' || !isCommit(commit)) throw new Error(`commit ${String(commit)}`)

  const files: RemoteFile[] = []
  let entries = 0
  const all = { repo: { type: 'model', name: repo }, revision: commit, recursive: true } as const
  for await (const entry of listFiles({ ...all, ...hub })) {
    if (++entries > mostEntries) throw new Error(`more than ${mostEntries} files`)
    if (entry.type === 'file') files.push(checkedFile(entry))
  }
  const declared: unknown = cardData?.license
  return {
    commit,
    license:
      license ??
      (typeof declared === 'string'
        ? { name: declared, url: `${connection.endpoint}/${repo}` }
        : undefined),
    files,
  }
}

function checkedFile(entry: {
  path: unknown
  size: unknown
  oid?: unknown
  lfs?: { oid: unknown }
}) {
  const { path, size } = entry
  const etag = entry.lfs?.oid ?? entry.oid
  if (typeof path !== 'string' || !isSafePath(path)) {
    throw new Error(`a file with the name ${JSON.stringify(path)}`)
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new Error(`${path} of ${String(size)} bytes`)
  }
  if (typeof etag !== 'string' || !isEtag(etag)) throw new Error(`${path} with a strange hash`)
  return { path, bytes: size, etag }
}

/** Whether a revision is the full name of a commit, which never means anything else. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision)
}

function isEtag(text: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text)
}
