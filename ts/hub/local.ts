/** Paths on this machine: what is given for one and is none is explained. */
import { type Dirent } from 'node:fs'
import { readFile, readdir, readlink, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { closest, distance } from 'fastest-levenshtein'

import { MagicMixError } from '../errors.js'
import { asHubName, nameOfAddress, shortNames } from './references.js'
import {
  type ModelKind,
  choose,
  kindTexts,
  networkFolders,
  otherWeights,
  shortList,
} from './selection.js'

const weights = /\.(safetensors|ckpt|gguf|pt|pth|bin)$/i

/**
 * The path of what is given for a model, or for what is added to one. It is looked for, but not read:
 * why something that is there cannot be read, the engine says.
 *
 * @throws {@link MagicMixError} MODEL_NOT_FOUND, MODEL_FORMAT
 */
export async function localFile(given: string, kind: ModelKind): Promise<string> {
  try {
    const found = await stat(given)
    return found.isDirectory() ? await inFolder(given, kind) : given
  } catch (error) {
    if (error instanceof MagicMixError) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR') return given
  }
  const { why, similar } = await whyMissing(given)
  throw notFound(given, kind, why, similar === undefined ? {} : { similar })
}

function notFound(given: string, kind: ModelKind, why: string, details = {}): MagicMixError {
  return new MagicMixError(
    'MODEL_NOT_FOUND',
    `There is no ${kindTexts[kind]} at '${given}': ${why}`,
    { path: given, ...details },
  )
}

// -------------------------------------------------------------------------------------------------
// Nothing is there

interface Missing {
  why: string
  /** What was probably meant. */
  similar?: string | undefined
}

async function whyMissing(given: string): Promise<Missing> {
  return (
    ofAddress(given) ??
    ofShell(given) ??
    ofShortName(given) ??
    ofCacheName(given) ??
    (await ofLink(given)) ??
    (await ofNeighbours(given))
  )
}

function ofAddress(given: string): Missing | undefined {
  const similar = nameOfAddress(given) ?? nameOfAddress(`https://${given}`)
  if (similar !== undefined)
    return { why: `that is an address of the hub; write '${similar}'`, similar }
  if (/^hf:/i.test(given)) {
    const name = asHubName(given.slice('hf:'.length))
    if (name !== undefined) return { why: `'hf:' is in lower case; write '${name}'`, similar: name }
  }
  if (/^file:/i.test(given)) {
    const file = pathOfUrl(given)
    return {
      why: `that is a file: URL; ${file === undefined ? 'give a path' : `give the path '${file}'`}`,
      similar: file,
    }
  }
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(given)) return undefined
  return { why: 'that is an address; download the file first, and give the path of it' }
}

function pathOfUrl(href: string): string | undefined {
  try {
    return fileURLToPath(href)
  } catch {
    return undefined
  }
}

/** What a shell would have put something else in the place of. */
function ofShell(given: string): Missing | undefined {
  if (/^~(?=$|[/\\])/.test(given)) {
    const why = "only a shell reads '~' as the home folder; give the whole path"
    try {
      const similar = path.join(homedir(), given.slice(1))
      return { why: `${why}, '${similar}'`, similar }
    } catch {
      return { why } // an unknown user in a container
    }
  }
  const variable = /\$\{\w+\}|\$[A-Za-z_]\w*|%\w+%/.exec(given)?.[0]
  return variable === undefined
    ? undefined
    : { why: `only a shell puts a value in the place of ${variable}; give the whole path` }
}

function ofShortName(given: string): Missing | undefined {
  const short = Object.keys(shortNames)
  const letters = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '')
  const near = short.find((name) => letters(name) === letters(given))
  if (near === undefined || /[/\\]/.test(given)) return undefined
  return { why: `for the model on the hub write 'hf:${near}'`, similar: `hf:${near}` }
}

/** The name of a folder of the hub's cache, without the cache. */
function ofCacheName(given: string): Missing | undefined {
  const name = hubNameOfFolder(path.basename(given))
  return name === undefined
    ? undefined
    : { why: `that is how the hub's cache names a folder; write '${name}'`, similar: name }
}

/** In a cache of the hub files are links, to content that may have been deleted. */
async function ofLink(given: string): Promise<Missing | undefined> {
  const target = await readlink(given).catch(() => undefined)
  return target === undefined ? undefined : { why: `it is a link to '${target}', where nothing is` }
}

/** Looks for the folder in which the first part is missing, and for a name like it there. */
async function ofNeighbours(given: string): Promise<Missing> {
  const separators = given.replace(/\\/g, '/')
  const quotes = given.replace(/^["'\s]+|["'\s]+$/g, '')
  for (const similar of [separators, quotes]) {
    if (similar !== given && (await isThere(similar))) return { why: meant(similar), similar }
  }

  let missing = path.normalize(given).replace(/[/\\]+$/, '')
  while (!(await isThere(path.dirname(missing))) && path.dirname(missing) !== missing) {
    missing = path.dirname(missing)
  }
  const folder = path.dirname(missing)
  const isLast = path.normalize(given).replace(/[/\\]+$/, '') === missing
  const place = `in the folder '${path.resolve(folder)}'`
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined)
  if (entries === undefined) return { why: `'${folder}' is not a folder` }

  const near = nearest(
    path.basename(missing),
    entries.filter((each) => isCandidate(each, isLast)).map(({ name }) => name),
  )
  const rest = path.relative(missing, path.normalize(given))
  const similar = near === undefined ? undefined : path.join(folder, near, rest)
  if (similar !== undefined && (await isThere(similar))) return { why: meant(similar), similar }
  const hubName = hubNameOf(given)
  if (hubName !== undefined && folder === '.') {
    const why = `nothing has that name ${place}; for a repository of the hub write '${hubName}'`
    return { why, similar: hubName }
  }
  if (near !== undefined) {
    return {
      why: `there is no '${path.basename(missing)}' ${place}; ${meant(near)}`,
      similar: near,
    }
  }
  const files = entries.map(({ name }) => name).filter((name) => weights.test(name))
  return {
    why:
      `there is no '${path.basename(missing)}' ${place}` +
      (isLast && files.length > 0 ? `, which has ${shortList(files)}` : ''),
  }
}

/** 'hf:...' for 'ORG/NAME' and what follows, but not for FOLDER/FILE.safetensors. */
function hubNameOf(given: string): string | undefined {
  const parts = given.split('/')
  return parts.length < 2 || weights.test(parts[1] ?? '') ? undefined : asHubName(given)
}

function meant(file: string): string {
  return `did you mean '${file}'?`
}

/** A folder, or where a file is meant also a file of weights. */
function isCandidate(entry: Dirent, isLast: boolean): boolean {
  return entry.isDirectory() || entry.isSymbolicLink() || (isLast && weights.test(entry.name))
}

/** The name that is like `wanted`, with its extension or without. */
function nearest(wanted: string, names: readonly string[]): string | undefined {
  const plain = (name: string) => name.toLowerCase()
  const stem = (name: string) => plain(name).replace(weights, '')
  const most = Math.min(3, Math.floor(stem(wanted).length / 3))
  for (const form of [plain, stem]) {
    if (names.length === 0) return undefined
    const near = closest(form(wanted), names.map(form))
    if (distance(form(wanted), near) <= most) return names.find((name) => form(name) === near)
  }
  return undefined
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

// -------------------------------------------------------------------------------------------------
// A folder is there

async function inFolder(given: string, kind: ModelKind): Promise<string> {
  const names = await readdir(given).catch(() => [])
  await refuseCache(given, kind, names)
  if (kind === 'model') await refuseOtherFolder(given, names)
  // Folders of LoRAs, VAEs and tiny decoders are read by the engine.
  if (kind !== 'embedding') return given
  const chosen = choose(kind, names, undefined)
  if ('files' in chosen) return path.join(given, chosen.path)
  const { problem, oneOf } = chosen
  const example = oneOf?.[0] && `; name one, such as '${path.join(given, oneOf[0])}'`
  throw notFound(
    given,
    kind,
    `the folder ${problem}${example ?? ''}`,
    oneOf ? { similar: oneOf } : {},
  )
}

/** 'models--ORG--NAME' as 'hf:ORG/NAME'. */
function hubNameOfFolder(name: string): string | undefined {
  const [, org, repo] = /^models--(.+?)--(.+)$/.exec(name) ?? []
  return org === undefined ? undefined : asHubName(`${org}/${repo}`)
}

/** A repository's folder in the hub's cache, or the cache itself, is not a model: a snapshot is one. */
async function refuseCache(given: string, kind: ModelKind, names: string[]): Promise<void> {
  const isSnapshots = path.basename(path.resolve(given)) === 'snapshots'
  const folder = isSnapshots ? path.dirname(path.resolve(given)) : path.resolve(given)
  const hubName = hubNameOfFolder(path.basename(folder))
  const orHub = hubName === undefined ? '' : `, or write '${hubName}'`
  if (hubName !== undefined && (isSnapshots || names.includes('snapshots'))) {
    const snapshots = isSnapshots ? given : path.join(given, 'snapshots')
    const commits = isSnapshots ? names : await readdir(snapshots).catch(() => [])
    const main = await readFile(path.join(folder, 'refs', 'main'), 'utf8').catch(() => '')
    const commit = commits.find((each) => each === main.trim()) ?? commits[0]
    const why = "that is a repository's folder in the hub's cache"
    if (commit === undefined) {
      throw notFound(given, kind, `${why}, without any revision; write '${hubName}'`, {
        similar: hubName,
      })
    }
    const similar = path.join(snapshots, commit)
    const others = commits.filter((each) => each !== commit)
    const also = others.length > 0 ? ` (it also has ${shortList(others)})` : ''
    throw notFound(given, kind, `${why}; give a revision in it, '${similar}'${also}${orHub}`, {
      similar,
    })
  }
  const cached = names.map(hubNameOfFolder).filter((name) => name !== undefined)
  if (cached.length === 0 || names.includes('model_index.json')) return
  throw notFound(
    given,
    kind,
    `that is the cache of the hub; write the name of one of its repositories: ${shortList(cached)}`,
    { similar: cached },
  )
}

/** Folders that are not as diffusers writes them, and whose files say what they are. */
async function refuseOtherFolder(given: string, names: string[]): Promise<void> {
  if (names.includes('model_index.json')) return refuseOtherWeights(given)
  if (names.includes('config.json')) return // part of a model: the engine knows which
  const found: string[] = []
  for (const name of names) {
    if (await isThere(path.join(given, name, 'model_index.json'))) found.push(name)
  }
  found.push(...names.filter((name) => weights.test(name)))
  if (found.length === 0) return
  const similar = found.map((name) => path.join(given, name))
  throw new MagicMixError(
    'MODEL_FORMAT',
    `The folder '${given}' has no model_index.json, so it is not a diffusers folder; ` +
      `give what is in it: ${shortList(similar.map((each) => `'${each}'`))}`,
    { path: given, similar },
  )
}

async function refuseOtherWeights(given: string): Promise<void> {
  for (const folder of networkFolders) {
    const names = await readdir(path.join(given, folder)).catch(() => [])
    const other = otherWeights(
      folder,
      names.map((name) => `${folder}/${name}`),
    )
    if (other === undefined) continue
    const { file, what, wanted } = other
    throw notFound(
      given,
      'model',
      `its ${folder}/ has no weights as .safetensors or .bin, only ${file}, ${what}; ` +
        (wanted
          ? `to use them, rename the file to ${wanted}`
          : 'a copy with weights of PyTorch (.safetensors or .bin) is needed'),
      { file },
    )
  }
}
