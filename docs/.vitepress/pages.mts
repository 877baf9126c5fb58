/**
 * The pages of the site: all of docs/, and documents that stand elsewhere in the repository because that
 * is where their readers look for them. Links between them are written as GitHub follows them, from file
 * to file; here they are led to the pages.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import type { DefaultTheme, MarkdownRenderer } from 'vitepress'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Documents outside of docs/, and their pages. */
const elsewhere: Readonly<Record<string, string>> = {
  'ARCHITECTURE.md': 'project/architecture.md',
  'CHANGELOG.md': 'project/changelog.md',
  'CONTRIBUTING.md': 'project/contributing.md',
  'SECURITY.md': 'project/security.md',
  'THIRD-PARTY-NOTICES.md': 'project/notices.md',
  'bench/README.md': 'bench/index.md',
  'examples/README.md': 'guides/examples.md',
  'models/README.md': 'project/model-in-the-package.md',
  'packages/server/README.md': 'server/index.md',
  'packages/server/docs/apis.md': 'server/apis.md',
  'packages/server/docs/workers.md': 'server/workers.md',
  'third_party/README.md': 'project/third-party.md',
}

/** The page that a Markdown file becomes, if it becomes one. */
export function pageOf(file: string): string | undefined {
  if (file === 'README.md') return 'index.md' // says in short what the site says
  return file.startsWith('docs/') ? file.slice('docs/'.length) : elsewhere[file]
}

/** Markdown files that are no pages. */
export const noPages = [
  'README.md',
  ...['build*', 'prebuilds', 'vendor', 'test', 'docs/.vitepress'].map((name) => `${name}/**`),
]

/**
 * Leads links from file to file to the pages of these files. A link to another file of the repository
 * becomes plain text, since the site has no such page; a link to nothing stays, and VitePress refuses it.
 */
export function linkPages(md: MarkdownRenderer): void {
  md.core.ruler.push('pages', (state) => {
    const { realPath, path: own } = state.env as { realPath?: string; path?: string }
    const file = realPath ?? own
    if (file === undefined) return // a title
    const folder = path.dirname(file)
    for (const token of state.tokens) {
      // An indented block scrolls by itself, with the keyboard too.
      if (token.type === 'code_block')
        token.attrs = [...(token.attrs ?? []), ['tabindex', '0'], ['v-pre', '']]
    }
    for (const { children } of state.tokens) {
      const ends: boolean[] = []
      for (const token of children ?? []) {
        if (token.type === 'link_open') {
          const href = token.attrGet('href') ?? ''
          const target = targetOf(href, folder)
          ends.push(target === null)
          if (target === null) hide(token)
          else token.attrSet('href', target)
        } else if (token.type === 'link_close' && ends.pop()) hide(token)
      }
    }
  })
}

/** The page that `href` leads to; null for a file that is none. */
function targetOf(href: string, folder: string): string | null {
  if (href === '' || /^([a-z]+:|#|\/)/.test(href)) return href
  const [, name = '', place = ''] = /^([^#]*)(.*)$/.exec(href)!
  const file = path
    .relative(root, path.resolve(folder, decodeURI(name)))
    .split(path.sep)
    .join('/')
  const page = file.endsWith('.md') ? pageOf(file) : undefined
  if (page !== undefined) return `/${page}${place}`
  return existsSync(path.join(root, file)) ? null : href
}

function hide(token: { type: string; tag: string; content: string }): void {
  token.type = 'text'
  token.tag = ''
  token.content = ''
}

/** As GitHub makes a heading's anchor, so that a link to it works there and here. */
export function slugOf(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '')
    .replaceAll(' ', '-')
}

/** The pages in a folder of docs/: those of `first` in that order, then the others. */
export function pagesIn(folder: string, first: readonly string[] = []): DefaultTheme.SidebarItem[] {
  const inside = path.join(root, 'docs', folder)
  const names = existsSync(inside) ? readdirSync(inside).filter((name) => name.endsWith('.md')) : []
  const rank = (name: string) => (first.indexOf(path.parse(name).name) + 1 || 1000) - 1
  return names
    .filter((name) => name !== 'index.md')
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b))
    .map((name) => page(`docs/${folder}/${name}`))
}

/** A page in the navigation, under its heading or the text given. */
export function page(file: string, text = headingOf(file)): DefaultTheme.SidebarItem {
  return { text, link: `/${pageOf(file)!.replace(/(index)?\.md$/, '')}` }
}

/** Those of these files that are there. */
export function present(...files: string[]): string[] {
  return files.filter((file) => existsSync(path.join(root, file)))
}

function headingOf(file: string): string {
  const heading = /^# (.+)$/m.exec(readFileSync(path.join(root, file), 'utf8'))?.[1] ?? file
  return heading.replaceAll('`', '')
}
