/** The site: `npm run docs` builds it into docs/.vitepress/dist, offline. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { type DefaultTheme, defineConfig } from 'vitepress'

import { linkPages, noPages, page, pageOf, pagesIn, present, root, slugOf } from './pages.mjs'

const { description } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  description: string
}

/** Written by TypeDoc before the site is built: see scripts/docs.mjs. */
const apiSidebar = path.join(root, 'docs', 'api', 'typedoc-sidebar.json')
const api = existsSync(apiSidebar)
  ? (JSON.parse(readFileSync(apiSidebar, 'utf8')) as DefaultTheme.SidebarItem[])
  : []

const guides = pagesIn('guides', [
  ...['first-mix', 'choosing-values', 'attention', 'in-place-and-time', 'sweeps', 'few-steps'],
  ...['models', 'devices', 'containers', 'progress', 'recipes', 'server', 'embedding', 'methods'],
  ...['troubleshooting', 'from-diffusers', 'from-a1111'],
])
const project = present(
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'models/README.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'third_party/README.md',
  'THIRD-PARTY-NOTICES.md',
)

const sidebar: DefaultTheme.SidebarItem[] = [
  {
    text: 'Guides',
    items: [...guides, ...present('examples/README.md').map((file) => page(file))],
  },
  {
    text: 'Reference',
    items: [
      page('docs/reference/options.md'),
      page('docs/reference/errors.md'),
      {
        text: 'Command line',
        link: '/reference/cli/',
        items: pagesIn('reference/cli'),
        collapsed: true,
      },
      { text: 'Functions and types', link: '/api/' },
      page('docs/reference/environment.md'),
      page('docs/reference/config-keys.md'),
    ],
  },
  {
    text: 'Server',
    items: [
      page('packages/server/README.md'),
      page('packages/server/docs/apis.md'),
      page('packages/server/docs/workers.md'),
      page('docs/reference/problems.md'),
    ],
  },
  { text: 'Studies', items: pagesIn('studies') },
  {
    text: 'Inside',
    items: [
      ...present('docs/paper.md', 'docs/engine.md').map((file) => page(file)),
      page('bench/README.md'),
      ...project.map((file) => page(file)),
    ],
  },
]

export default defineConfig({
  lang: 'en',
  title: 'magicmix',
  description,
  // Where the site is not at the root of its host: DOCS_BASE=/magicmix/
  base: process.env.DOCS_BASE ?? '/',
  srcDir: '..',
  srcExclude: noPages,
  rewrites: (file) => pageOf(file) ?? file,
  markdown: {
    anchor: { slugify: slugOf },
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
    config: linkPages,
  },
  vite: { server: { watch: { ignored: ['**/build*/**', '**/models/**', '**/dist/**'] } } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Guides', link: guides[0]?.link ?? '/guides/examples' },
      { text: 'Options', link: '/reference/options' },
      { text: 'Errors', link: '/reference/errors' },
      { text: 'API', link: '/api/' },
    ],
    sidebar: { '/': sidebar, '/api/': [{ text: 'Functions and types', items: api }] },
  },
})
