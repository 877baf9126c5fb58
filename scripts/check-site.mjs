#!/usr/bin/env node
/**
 * Checks the built site: every link leads to a page, and to a place on it, that is there; and no page loads
 * anything from elsewhere. VitePress itself refuses links to pages that are not there; it knows nothing of places.
 */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const site = fileURLToPath(new URL('../docs/.vitepress/dist', import.meta.url))
const base = process.env.DOCS_BASE ?? '/'
const host = 'http://site.invalid'

const files = readdirSync(site, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) =>
    path.relative(site, path.join(entry.parentPath, entry.name)).replaceAll('\\', '/'),
  )
const texts = new Map(
  files
    .filter((name) => /\.(html|js|css|svg)$/.test(name))
    .map((name) => [name, readFileSync(path.join(site, name), 'utf8')]),
)
const pages = files.filter((name) => name.endsWith('.html') && name !== '404.html')

/** The places of a page that links lead to. */
const places = new Map(
  pages.map((name) => [name, new Set(valuesOf(texts.get(name), / (?:id|name)="([^"]+)"/g))]),
)

const problems = [...pages.flatMap(linksOf), ...[...texts].flatMap(strangersIn)]
for (const problem of new Set(problems)) console.error(problem)
console.log(`${pages.length} pages, ${problems.length} problems`)
process.exitCode = problems.length > 0 || pages.length < 20 ? 1 : 0

function valuesOf(text, pattern) {
  return [...text.matchAll(pattern)].map(([, value]) =>
    value.replaceAll('&amp;', '&').replaceAll('&quot;', '"').replaceAll('&#39;', "'"),
  )
}

/** What is wrong with the links of a page, and with what it shows. */
function linksOf(name) {
  const html = texts.get(name)
  const targets = valuesOf(html, / (?:href|src)="([^"]+)"/g)
  return targets.flatMap((target) => {
    const url = new URL(target, `${host}${base}${name}`)
    if (url.origin !== host) return []
    const place = decodeURIComponent(url.hash.slice(1))
    const file = fileOf(decodeURIComponent(url.pathname))
    if (file === undefined) return [`${name}: ${target} leads to nothing`]
    const known = places.get(file)
    const isThere = place === '' || known === undefined || known.has(place)
    return isThere ? [] : [`${name}: there is no place #${place} on ${file}`]
  })
}

function fileOf(pathname) {
  if (!pathname.startsWith(base)) return undefined
  const name = pathname.slice(base.length)
  return [name, `${name}.html`, path.posix.join(name, 'index.html')].find(
    (each) => existsSync(path.join(site, each)) && statSync(path.join(site, each)).isFile(),
  )
}

/** What a file of the site loads from another host: anything but a link that a reader follows. */
function strangersIn([name, text]) {
  const patterns = name.endsWith('.js')
    ? [
        /\b(?:import|fetch|importScripts)\(\s*["'`](https?:)?\/\/[^"'`]+/g,
        /\bfrom\s*["'](https?:)?\/\/[^"']+/g,
      ]
    : [
        /<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]* (?:src|srcset|data)="(?:https?:)?\/\/[^"]+/g,
        /<link\b[^>]* href="(?:https?:)?\/\/[^"]+/g,
        /\burl\(\s*["']?(?:https?:)?\/\/[^)]+/g,
        /@import\s+["'](?:https?:)?\/\/[^"']+/g,
      ]
  return patterns.flatMap((pattern) =>
    [...text.matchAll(pattern)].map(
      ([found]) => `${name} loads from elsewhere: ${found.slice(0, 150)}`,
    ),
  )
}
