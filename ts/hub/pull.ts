/** Brings a model, or what is added to one, from the hub into the cache that all programs share, and says where it is. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'

import { CallersOwn, MagicMixError, calledFrom } from '../errors.js'
import type { FilledLora } from '../input/lora.js'
import { type Watch, refuseAborted } from '../native/job.js'
import type { DownloadProgressEvent, ModelLicense, ProgressListener } from '../progress.js'
import {
  type Option,
  callback,
  checkOptions,
  choice,
  filledText,
  signal,
} from '../options/option.js'
import { nonEmptyText } from '../options/validate.js'
import { CachedRepo } from './cache.js'
import { Connection } from './connection.js'
import { refuseFullDisk, asUnwritable } from './disk.js'
import { download } from './download.js'
import { DownloadProgress } from './download-progress.js'
import { cacheFolder, isOffline } from './environment.js'
import { type Listing, type RemoteFile, askForListing, isCommit } from './listing.js'
import { localFile } from './local.js'
import { type Reference, nameOf, parseReference } from './references.js'
import { type ModelKind, choose, modelKinds } from './selection.js'

/**
 * Options of {@link pull}.
 *
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { pull } from 'magicmix'
 *
 * const { path } = await pull('latent-consistency/lcm-lora-sdv1-5', {
 *   kind: 'lora',
 *   onProgress: ({ file, bytes, totalBytes }) => console.log(file, bytes / totalBytes),
 *   signal: AbortSignal.timeout(600_000),
 * })
 * await mixer.mix({ ...request, sampler: 'lcm', loras: [{ file: path }] })
 * ```
 */
export interface PullOptions {
  /**
   * What NAME is: a 'model', or a 'lora', an 'embedding', a 'vae' or a 'tinyDecoder' for one. It says which files are
   * needed where NAME has none: of a LoRA `pytorch_lora_weights.safetensors`, or
   * `adapter_model.safetensors` with its configuration; of an embedding `learned_embeds.safetensors`
   * or `.bin`; of a VAE or a tiny decoder the folder that diffusers writes, or that of a whole model, of
   * the latter also `taesd_decoder.safetensors` or `.pth`; or the only file with weights. Default 'model'.
   */
  kind?: ModelKind | undefined
  /** Branch, tag or commit. Default: the part of the name after '@', else 'main'. */
  revision?: string | undefined
  /** Called about ten times per second while files are downloaded; if it throws, the download is cancelled. */
  onProgress?: ProgressListener<DownloadProgressEvent> | undefined
  /** Cancels; the parts that have arrived are kept for the next time. */
  signal?: AbortSignal | undefined
}

/** The options of `pull`: one row each. */
export const pullOptions = {
  kind: choice(modelKinds, {
    help: 'what it is, which says what files are needed',
    default: 'model',
    cli: { flag: 'kind', value: 'KIND' },
  }),
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

/**
 * A model in the cache.
 *
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { pull } from 'magicmix'
 *
 * const { path, repo, commit, license, downloadedBytes } = await pull('sd1.5')
 * console.log(`${repo} of ${commit} is in ${path}, ${downloadedBytes} bytes came now`)
 * console.log(license ? `${license.name}: ${license.url}` : 'it declares no licence')
 * ```
 */
export interface PulledModel {
  /** The folder or file to load. */
  path: string
  /** Its name for `load`, `mix` and the command line: 'hf:sd1.5', 'hf:ORG/NAME@REVISION/FILE'. */
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
 * needs, in half precision where there is such a variant. With `kind` the same for LoRAs, embeddings,
 * VAEs and tiny decoders. Interrupted downloads are continued, and every file is checked against the hash that the
 * hub announces.
 *
 * If the hub cannot be reached, a model that is in the cache is taken as it is there. The environment
 * may set `HF_ENDPOINT` (a mirror), `HF_TOKEN`, `HF_HUB_CACHE` or `HF_HOME` (where the cache is) and
 * `HF_HUB_OFFLINE=1` (use only the cache).
 *
 * @param model 'sd1.4', 'sd1.5', 'sd2.1', 'sdxl', 'sdxl-turbo', 'ORG/NAME' or 'ORG/NAME/FILE', where FILE may be a folder,
 * also with '@REVISION' after NAME, and with 'hf:' before it all
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION, MODEL_NOT_FOUND,
 * MODEL_UNSUPPORTED, ACCESS_DENIED, DOWNLOAD_FAILED, DOWNLOAD_DAMAGED, DISK_FULL; or the signal's
 * reason; or what `onProgress` threw
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { MagicMix, pull } from 'magicmix'
 *
 * const { path } = await pull('sd1.5')
 * await using mixer = await MagicMix.load({ model: path }) // or at once: { model: 'hf:sd1.5' }
 * ```
 */
export async function pull(model: string, options: PullOptions = {}): Promise<PulledModel> {
  return calledFrom(pull, async () => {
    const checked = checkOptions(pullOptions, options, 'pull', '', 'the options of pull')
    const reference = parseReference(nonEmptyText(model, 'model'), checked.revision)
    return bring({ ...reference, kind: checked.kind }, 'newest', checked)
  })
}

/**
 * The path of a model, or of what is added to one, that may be given as 'hf:...'. What is in the
 * cache is taken from there without asking the hub. What is no path at all is explained.
 */
export async function resolveModel(
  model: string,
  watch: Watch<DownloadProgressEvent>,
  kind: ModelKind = 'model',
): Promise<string> {
  if (!model.startsWith('hf:')) return localFile(model, kind)
  return (await bring({ ...parseReference(model), kind }, 'cached', watch)).path
}

/** {@link resolveModel} for the files of LoRAs. */
export async function resolveLoras(
  loras: readonly FilledLora[],
  watch: Watch<DownloadProgressEvent>,
): Promise<FilledLora[]> {
  const found: FilledLora[] = []
  for (const lora of loras) {
    found.push({ ...lora, file: await resolveModel(lora.file, watch, 'lora') })
  }
  return found
}

/** {@link resolveModel} for the files of embeddings, by their placeholders. */
export async function resolveEmbeddings(
  embeddings: Readonly<Record<string, string>>,
  watch: Watch<DownloadProgressEvent>,
): Promise<Record<string, string>> {
  const found: [placeholder: string, file: string][] = []
  for (const [placeholder, file] of Object.entries(embeddings)) {
    found.push([placeholder, await resolveModel(file, watch, 'embedding')])
  }
  return Object.fromEntries(found)
}

/** What is wanted of the hub. */
type Wanted = Reference & { kind: ModelKind }

async function bring(
  reference: Wanted,
  wanted: 'newest' | 'cached',
  watch: Watch<DownloadProgressEvent>,
): Promise<PulledModel> {
  const cache = new CachedRepo(cacheFolder(), reference.repo)
  const { cached, certain } = await findCached(reference, cache)
  refuseAborted(watch.signal)
  const isEnough = isOffline() || (certain && (wanted === 'cached' || isCommit(reference.revision)))
  if (cached && isEnough) return cached
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
  reference: Wanted,
  { commit, license, files }: Listing,
  { cache, connection, watch, stop }: Means,
): Promise<PulledModel> {
  const present = new Set<string>()
  for (const file of files) if (await cache.has(file, commit)) present.add(file.path)
  const { needed, at } = chooseFiles(reference, files, (file) => present.has(file), connection)
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
  const paths = needed.map(({ path }) => path)
  chosenBefore.set(choiceOf(reference, commit), paths)
  return {
    ...pulled(reference, commit, cache, at, paths),
    license: license ?? null,
    downloadedBytes: progress.receivedBytes,
  }
}

/** What this process chose when it saw all files of a commit, which never change. */
const chosenBefore = new Map<string, readonly string[]>()

function choiceOf({ kind, repo, file = '' }: Wanted, commit: string): string {
  return [kind, repo, commit, file].join(' ')
}

/**
 * The model as it was when it was downloaded last, if all of it is there. Where the cache has only a
 * part of a repository, there may be a file that would be chosen before those: then it is not certain.
 */
async function findCached(
  reference: Wanted,
  cache: CachedRepo,
): Promise<{ cached?: PulledModel; certain?: boolean }> {
  const commit = await cache.commitOf(reference.revision)
  if (commit === undefined) return {}
  const paths = await cache.filesOf(commit)
  const before = chosenBefore.get(choiceOf(reference, commit))
  const isHere = before?.every((path) => paths.includes(path))
  const chosen = choose(reference.kind, isHere ? before! : paths, reference.file)
  if (!('files' in chosen)) return {}
  return {
    cached: pulled(reference, commit, cache, chosen.path, chosen.files),
    certain: chosen.certain || isHere === true,
  }
}

function pulled(
  reference: Reference,
  commit: string,
  cache: CachedRepo,
  at: string,
  files: string[],
): PulledModel {
  const { repo, revision } = reference
  return {
    path: path.join(cache.snapshot(commit), at),
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
  reference: Wanted,
  files: readonly RemoteFile[],
  isHere: (path: string) => boolean,
  connection: Connection,
): { needed: RemoteFile[]; at: string } {
  const { kind, file } = reference
  const byPath = new Map(files.map((each) => [each.path, each]))
  const chosen = choose(kind, [...byPath.keys()], file, isHere)
  if ('files' in chosen) {
    return { needed: chosen.files.map((path) => byPath.get(path)!), at: chosen.path }
  }
  const { problem, unsupported, oneOf, similar } = chosen
  const example = oneOf?.[0] && `hf:${nameOf({ ...reference, file: oneOf[0] })}`
  throw connection.error(
    unsupported ? 'MODEL_UNSUPPORTED' : 'MODEL_NOT_FOUND',
    `it ${problem}` + (example ? `; name one, such as '${example}'` : ''),
    {
      ...(file === undefined ? {} : { file }),
      ...(similar === undefined ? {} : { similar }),
      ...(oneOf ? { similar: oneOf } : {}),
    },
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
