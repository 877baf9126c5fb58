/** Brings a model from the hub into the cache that all programs share, and says where it is. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'

import { closest } from 'fastest-levenshtein'

import { CallersOwn, MagicMixError, calledFrom } from '../errors.js'
import { type Watch, refuseAborted } from '../native/job.js'
import type { DownloadProgressEvent, ModelLicense, ProgressListener } from '../progress.js'
import { type Option, callback, checkOptions, filledText, signal } from '../options/option.js'
import { nonEmptyText } from '../options/validate.js'
import { CachedRepo } from './cache.js'
import { Connection } from './connection.js'
import { refuseFullDisk, asUnwritable } from './disk.js'
import { download } from './download.js'
import { DownloadProgress } from './download-progress.js'
import { cacheFolder, isOffline } from './environment.js'
import { type Listing, type RemoteFile, askForListing, isCommit } from './listing.js'
import { type Reference, nameOf, parseReference } from './references.js'
import { filesForMixing } from './selection.js'

/** Options of {@link pull}. */
export interface PullOptions {
  /** Branch, tag or commit. Default: the part of the name after '@', else 'main'. */
  revision?: string | undefined
  /** Called about ten times per second while files are downloaded; if it throws, the download is cancelled. */
  onProgress?: ProgressListener<DownloadProgressEvent> | undefined
  /** Cancels; the parts that have arrived are kept for the next time. */
  signal?: AbortSignal | undefined
}

/** The options of `pull`: one row each. */
export const pullOptions = {
  revision: filledText({
    help: 'branch, tag or commit',
    defaultText: 'the part after @ in NAME, else main',
    cli: { flag: 'revision', value: 'REV' },
  }),
  onProgress: callback<ProgressListener<DownloadProgressEvent>>({
    help: 'called about ten times per second while files are downloaded',
  }),
  signal: signal({ help: 'cancels; finished parts are kept for the next time' }),
} satisfies Record<keyof PullOptions, Option>

/** A model in the cache. */
export interface PulledModel {
  /** The folder or file to load. */
  path: string
  /** Its name for `load` and the command line: 'hf:sd1.5', 'hf:ORG/NAME@REVISION/FILE'. */
  model: string
  /** 'ORG/NAME' */
  repo: string
  /** Branch, tag or commit that was asked for. */
  revision: string
  /** The commit that it is. */
  commit: string
  /** As the repository declares it; null where it does not, or the hub was not asked. */
  license: ModelLicense | null
  /** Paths of the files in the repository. */
  files: string[]
  /** How much of them was downloaded now, in bytes. */
  downloadedBytes: number
}

/**
 * Brings a model from the Hugging Face hub into the cache folder that Python's huggingface_hub uses
 * too, unless it is there. Of a repository as diffusers writes it come only the files that mixing
 * needs, in half precision where there is such a variant. Interrupted downloads are continued, and
 * every file is checked against the hash that the hub announces.
 *
 * If the hub cannot be reached, a model that is in the cache is taken as it is there. The environment
 * may set `HF_ENDPOINT` (a mirror), `HF_TOKEN`, `HF_HUB_CACHE` or `HF_HOME` (where the cache is) and
 * `HF_HUB_OFFLINE=1` (use only the cache).
 *
 * @param model 'sd1.4', 'sd1.5', 'sd2.1', 'ORG/NAME' or 'ORG/NAME/FILE', also with '@REVISION' after
 * NAME, and with 'hf:' before it all
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, MODEL_NOT_FOUND,
 * MODEL_UNSUPPORTED, ACCESS_DENIED, DOWNLOAD_FAILED, DOWNLOAD_DAMAGED, DISK_FULL; or the signal's
 * reason; or what `onProgress` threw
 * @example
 * ```ts
 * const { path } = await pull('sd1.5')
 * await using mixer = await MagicMix.load({ model: path }) // or at once: { model: 'hf:sd1.5' }
 * ```
 */
export async function pull(model: string, options: PullOptions = {}): Promise<PulledModel> {
  return calledFrom(pull, async () => {
    const checked = checkOptions(pullOptions, options, 'pull', '', 'the options of pull')
    const reference = parseReference(nonEmptyText(model, 'model'), checked.revision)
    return bring(reference, 'newest', checked)
  })
}

/**
 * The path of a model that may be given as 'hf:...'. What is in the cache is taken from there
 * without asking the hub.
 */
export async function resolveModel(
  model: string,
  watch: Watch<DownloadProgressEvent>,
): Promise<string> {
  if (!model.startsWith('hf:')) return model
  return (await bring(parseReference(model), 'cached', watch)).path
}

async function bring(
  reference: Reference,
  wanted: 'newest' | 'cached',
  watch: Watch<DownloadProgressEvent>,
): Promise<PulledModel> {
  const cache = new CachedRepo(cacheFolder(), reference.repo)
  const cached = await findCached(reference, cache)
  refuseAborted(watch.signal)
  if (cached && (wanted === 'cached' || isOffline() || isCommit(reference.revision))) return cached
  if (isOffline()) throw notCached(reference)

  // The caller's signal and an error of the caller's callback end in the same way.
  const stop = new AbortController()
  const { signal } = stop
  const onAbort = () => stop.abort(watch.signal?.reason)
  watch.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const connection = await Connection.open(reference, signal)
    const listing = await askForListing(reference, connection)
    return await fetchModel(reference, listing, { cache, connection, watch, stop })
  } catch (thrown) {
    if (signal.aborted) throw new CallersOwn(signal.reason)
    const error = asUnwritable(thrown, cacheFolder())
    const isUnreachable = error instanceof MagicMixError && error.code === 'DOWNLOAD_FAILED'
    if (cached && isUnreachable) return cached
    throw error
  } finally {
    watch.signal?.removeEventListener('abort', onAbort)
  }
}

interface Means {
  cache: CachedRepo
  connection: Connection
  watch: Watch<DownloadProgressEvent>
  stop: AbortController
}

async function fetchModel(
  reference: Reference,
  { commit, license, files }: Listing,
  { cache, connection, watch, stop }: Means,
): Promise<PulledModel> {
  const present = new Set<string>()
  for (const file of files) if (await cache.has(file, commit)) present.add(file.path)
  const needed = chooseFiles(reference, files, (file) => present.has(file), connection)
  const missing = needed.filter(({ path }) => !present.has(path))

  const parts = await Promise.all(missing.map((file) => cache.partOf(file)))
  const toCome = missing.reduce((sum, { bytes }, i) => sum + bytes - (parts[i] ?? 0), 0)
  await mkdir(cache.snapshot(commit), { recursive: true })
  await refuseFullDisk(cache.snapshot(commit), toCome)

  const model = { repo: reference.repo, license }
  const progress = new DownloadProgress(model, missing, parts, watch, stop)
  for (const file of missing) {
    const onBytes = (bytes: number, received: number) => progress.update(file, bytes, received)
    await download({ file, commit, connection, cache, onBytes })
    connection.signal.throwIfAborted()
  }
  for (const file of needed) await cache.show(file, commit)
  await cache.remember(reference.revision, commit)
  return {
    ...pulled(
      reference,
      commit,
      cache,
      needed.map(({ path }) => path),
    ),
    license: license ?? null,
    downloadedBytes: progress.receivedBytes,
  }
}

/** The model as it was when it was downloaded last, if all of it is there. */
async function findCached(
  reference: Reference,
  cache: CachedRepo,
): Promise<PulledModel | undefined> {
  const commit = await cache.commitOf(reference.revision)
  if (commit === undefined) return undefined
  const paths = await cache.filesOf(commit)
  if (reference.file !== undefined) {
    if (!paths.includes(reference.file)) return undefined
    return pulled(reference, commit, cache, [reference.file])
  }
  const chosen = filesForMixing(paths)
  return 'files' in chosen ? pulled(reference, commit, cache, chosen.files) : undefined
}

function pulled(
  reference: Reference,
  commit: string,
  cache: CachedRepo,
  files: string[],
): PulledModel {
  const { repo, revision, file = '' } = reference
  return {
    path: path.join(cache.snapshot(commit), file),
    model: `hf:${nameOf(reference)}`,
    repo,
    revision,
    commit,
    license: reference.license ?? null,
    files,
    downloadedBytes: 0,
  }
}

function chooseFiles(
  { file }: Reference,
  files: readonly RemoteFile[],
  isHere: (path: string) => boolean,
  connection: Connection,
): RemoteFile[] {
  const byPath = new Map(files.map((each) => [each.path, each]))
  const paths = [...byPath.keys()]
  if (file !== undefined) {
    const found = byPath.get(file)
    if (found) return [found]
    const similar = paths.length > 0 ? closest(file, paths) : undefined
    throw connection.error(
      'MODEL_NOT_FOUND',
      `there is no file '${file}'` + (similar === undefined ? '' : `; did you mean '${similar}'?`),
      { file, ...(similar === undefined ? {} : { similar }) },
    )
  }
  const chosen = filesForMixing(paths, isHere)
  if ('files' in chosen) return chosen.files.map((path) => byPath.get(path)!)
  throw connection.error(
    chosen.unsupported ? 'MODEL_UNSUPPORTED' : 'MODEL_NOT_FOUND',
    `it ${chosen.problem}`,
  )
}

function notCached(reference: Reference): MagicMixError {
  const { repo, revision, file } = reference
  return new MagicMixError(
    'MODEL_NOT_FOUND',
    `${nameOf(reference)} is not, or not wholly, in the cache ${cacheFolder()}, and HF_HUB_OFFLINE ` +
      'forbids to download it',
    { repo, revision, ...(file === undefined ? {} : { file }), path: cacheFolder() },
  )
}
