/**
 * The code blocks of the documentation: of its pages, and the examples of doc comments. A comment above a block says
 * what is done with it:
 *
 *     <!-- snippet: types, needs a download -->   its types are checked, and it is not run; the reason is for people
 *     <!-- snippet: not run, needs Docker -->     it is parsed; of commands of magicmix the options are checked
 *     <!-- snippet: continued -->                 it goes on from the block above, in the same scope
 *     <!-- snippet: stays -->                     a command that is left running to the end of the page, such as a server
 *
 * Without one it is run. The blocks of a page are run in their order, in one folder (see `pageFolder`), and what they do
 * not declare is there: the exports of magicmix, and `mixer`, `layout`, `content` and `request`. Examples of doc comments
 * are shown one by one, so they import what they use; `mixer` and `request` are there (`ambientOfExamples`).
 */
import { readFileSync, readdirSync } from 'node:fs'
import { chmod, cp, mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'

import sharp from 'sharp'

import { packageRoot } from './package-root.js'

export type Treatment = 'run' | 'types' | 'not run' | 'continued' | 'stays'
const treatments: readonly Treatment[] = ['run', 'types', 'not run', 'continued', 'stays']

export interface Snippet {
  /** Relative to the checkout. */
  page: string
  /** Of its first line of code. */
  line: number
  language: string
  code: string
  treatment: Treatment
}

/** Languages of programs, and of what is not code. */
export const scripts: readonly string[] = ['ts', 'js', 'mjs']
export const shells: readonly string[] = ['sh']
const others: readonly string[] = ['json', 'yaml', 'dockerfile', 'text', 'html']

export const place = ({ page, line }: Snippet) => `${page}:${line}`

/** Pages with snippets: the README files, and all of docs/ that is not generated. */
export function pages(): string[] {
  const below = (folder: string): string[] =>
    readdirSync(path.join(packageRoot, folder), { withFileTypes: true }).flatMap((entry) => {
      const name = path.join(folder, entry.name)
      if (entry.isDirectory()) return /^(\.|api$|node_modules$)/.test(entry.name) ? [] : below(name)
      return entry.name.endsWith('.md') ? [name] : []
    })
  return ['README.md', ...below('docs').sort(), path.join('packages', 'server', 'README.md')]
}

/** Programs with examples in their doc comments, by package. */
export function commented(): Map<string, string[]> {
  const folders = { magicmix: 'ts', 'magicmix-server': path.join('packages', 'server', 'ts') }
  return new Map(
    Object.entries(folders).map(([name, folder]) => [
      name,
      readdirSync(path.join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
        .map((file) => path.join(folder, file))
        .filter((file) => file.endsWith('.ts') && textOf(file).includes('@example'))
        .sort(),
    ]),
  )
}

/** Of a file of the checkout. */
export const textOf = (file: string) => readFileSync(path.join(packageRoot, file), 'utf8')

/** What the doc comments of a program say, in the lines where it stands; nothing of the program itself. */
function docComments(program: string): string {
  let isInside = false
  const lines = program.split('\n').map((line) => {
    isInside ||= /^\s*\/\*\*/.test(line)
    const said = isInside ? line.replace(/^\s*(\/\*\*|\*(?!\/)) ?/, '') : ''
    isInside &&= !line.includes('*/')
    return said.replace(/\s*\*\/.*$/, '')
  })
  return lines.join('\n')
}

/** The snippets of a page, or of the doc comments of a program, in their order. */
export function snippetsOf(page: string): Snippet[] {
  const text = textOf(page)
  const lines = (page.endsWith('.ts') ? docComments(text) : text).split('\n')
  const snippets: Snippet[] = []
  for (let at = 0; at < lines.length; at++) {
    const [, indent, fence, language] = /^(\s*)(`{3,})(\w*)/.exec(lines[at]!) ?? []
    if (indent === undefined || fence === undefined) continue
    const end = lines.findIndex((line, i) => i > at && line.trim() === fence)
    if (end < 0) throw new Error(`${page}:${at + 1} begins a block that does not end`)
    const code = lines.slice(at + 1, end).map((line) => line.slice(indent.length))
    const before = lines
      .slice(0, at)
      .filter((line) => line.trim() !== '')
      .at(-1)
    const snippet = { page, line: at + 2, language: language!, code: code.join('\n') }
    const treatment = treatmentIn(before ?? '', `${page}:${at + 1}`)
    snippets.push({ ...snippet, treatment: isGenerated(page) ? 'not run' : treatment })
    at = end
  }
  for (const each of snippets) {
    if (![...scripts, ...shells, ...others].includes(each.language)) {
      throw new Error(`${place(each)} is in '${each.language}', which no test knows`)
    }
  }
  return snippets
}

/** Its examples come from the tables of the options, and name models and pictures that nobody has here; those of errors do not. */
const isGenerated = (page: string) =>
  page.startsWith(path.join('docs', 'reference')) &&
  !['errors.md', 'problems.md'].includes(path.basename(page))

function treatmentIn(comment: string, where: string): Treatment {
  const text = /^\s*<!-- snippet: (.*) -->$/.exec(comment)?.[1]
  if (text === undefined) return 'run'
  const [name, reason] = text.split(/, (.*)/s)
  if (!treatments.includes(name as Treatment)) throw new Error(`${where}: no snippet is '${name}'`)
  const needsReason = name === 'types' || name === 'not run'
  if (needsReason !== Boolean(reason)) {
    throw new Error(`${where}: '${name}' ${needsReason ? 'says no reason' : 'needs no reason'}`)
  }
  return name as Treatment
}

/** Blocks of one scope: what goes on from another is added to it, with blank lines so that line numbers stay. */
export function scopes(snippets: readonly Snippet[]): Snippet[] {
  const made: Snippet[] = []
  for (const snippet of snippets) {
    if (snippet.treatment !== 'continued') {
      made.push({ ...snippet })
      continue
    }
    const above = made.filter(({ language }) => language === snippet.language).at(-1)
    if (!above) throw new Error(`${place(snippet)} goes on from nothing`)
    const lines = above.code.split('\n').length
    above.code += '\n'.repeat(Math.max(1, snippet.line - above.line - lines + 1)) + snippet.code
  }
  return made
}

/** Packages that snippets import. */
const packages = ['fastify', 'express', 'sharp', 'openai', 'esbuild', 'ajv', '@types']

/** The checkout's, or with MAGICMIX_INSTALLED those of a folder in which both tarballs were installed, as their users do. */
const { MAGICMIX_INSTALLED: elsewhere } = process.env
const installed = elsewhere
  ? {
      magicmix: path.join(elsewhere, 'node_modules', 'magicmix'),
      server: path.join(elsewhere, 'node_modules', 'magicmix-server'),
    }
  : { magicmix: packageRoot, server: path.join(packageRoot, 'packages', 'server') }

/** A folder as a reader has it: with the packages, and with pictures. */
export async function pageFolder(folder: string): Promise<void> {
  const modules = path.join(folder, 'node_modules')
  await mkdir(modules, { recursive: true })
  await symlink(installed.magicmix, path.join(modules, 'magicmix'))
  await symlink(installed.server, path.join(modules, 'magicmix-server'))
  for (const name of packages) {
    await symlink(path.join(packageRoot, 'node_modules', name), path.join(modules, name))
  }
  const layouts = path.join(packageRoot, 'models', 'layouts')
  for (const file of await readdir(layouts))
    await cp(path.join(layouts, file), path.join(folder, file))
  const photos = { 'corgi.jpg': 'tiger.png', 'dachshund.jpg': 'panda.png', 'cat.jpg': 'fish.png' }
  for (const [photo, layout] of Object.entries(photos)) {
    await sharp(path.join(layouts, layout)).jpeg().toFile(path.join(folder, photo))
  }
  const grey = Uint8Array.from({ length: 256 }, (_, i) => (i % 16 < 8 ? 0 : 255))
  const raw = { width: 16, height: 16, channels: 1 } as const
  await sharp(grey, { raw }).png().toFile(path.join(folder, 'map.png'))

  const bin = path.join(folder, '.bin')
  await mkdir(bin)
  const magicmix = `exec node ${quoted(path.join(installed.magicmix, 'dist', 'cli', 'main.js'))} "$@"`
  const tools = quoted(path.join(packageRoot, 'node_modules', '.bin'))
  const npx = `name=$1; shift\nif [ "$name" = magicmix ]; then ${magicmix}; fi\nexec ${tools}/"$name" "$@"`
  for (const [name, script] of Object.entries({ magicmix, npx })) {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`)
    await chmod(path.join(bin, name), 0o755)
  }
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** What snippets find that they do not declare. */
export const ambient = `
import type * as Exports from 'magicmix'
declare global {
  const mixer: Exports.MagicMix
  const layout: string
  const content: string
  const request: Exports.MixRequest
  const MagicMix: typeof Exports.MagicMix
  const MagicMixError: typeof Exports.MagicMixError
  const convert: typeof Exports.convert
  const devices: typeof Exports.devices
  const pull: typeof Exports.pull
  const readRecipe: typeof Exports.readRecipe
  const recipe: typeof Exports.recipe
  const requestSchema: typeof Exports.requestSchema
  const rewritePicture: typeof Exports.rewritePicture
}
`

/** What examples of doc comments find that they do not declare. */
export const ambientOfExamples = `
import type * as Exports from 'magicmix'
declare global {
  const mixer: Exports.MagicMix
  const request: { layout: string; content: string }
}
`
