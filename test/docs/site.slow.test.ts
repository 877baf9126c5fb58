/** The built site (`npm run docs`) in a real browser: what it loads, how it looks, that it can be read and searched. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'

import type { Browser } from 'playwright-core'

import { findChromium, launch, openPage } from '../../packages/server/test/support/browser.js'
import { packageRoot } from '../support/package-root.js'

const site = path.join(packageRoot, 'docs', '.vitepress', 'dist')
const chromium = findChromium()
const missing = !chromium
  ? 'there is no Chromium here'
  : !existsSync(path.join(site, 'index.html'))
    ? 'npm run docs has not built it'
    : undefined
/** Where screenshots are left to be looked at, if anybody wants to. */
const { MAGICMIX_SCREENSHOTS: screenshots } = process.env

const types: Readonly<Record<string, string>> = {
  ...{ '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css' },
  ...{ '.svg': 'image/svg+xml', '.webp': 'image/webp', '.png': 'image/png' },
}

/** Every kind of page: text with pictures, wide tables, what TypeDoc and the generators write. */
const pages = [
  ...['/', '/guides/first-mix.html', '/guides/choosing-values.html', '/reference/options.html'],
  ...['/reference/errors.html', '/reference/cli/mix.html', '/bench/', '/api/'],
  '/api/magicmix/interfaces/MixRequest.html',
]

;(missing ? describe.skip : describe)(
  `the site${missing ? ` (skipped: ${missing})` : ''}`,
  function () {
    this.timeout(180_000)
    let server: Server
    let browser: Browser
    let address: string
    before(async () => {
      server = createServer((request, response) => {
        const { pathname } = new URL(request.url!, 'http://localhost')
        const name = pathname.endsWith('/') ? `${pathname}index.html` : decodeURI(pathname)
        const file = path.join(site, name)
        if (!existsSync(file)) return response.writeHead(404).end()
        response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'text/plain' })
        return response.end(readFileSync(file))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      browser = await launch(chromium!)
    })
    after(async () => {
      await browser?.close()
      server?.closeAllConnections()
      await new Promise((resolve) => server?.close(resolve))
    })

    for (const colorScheme of ['light', 'dark'] as const) {
      it(`loads nothing from elsewhere, fits into 360 to 1600 px, and passes axe, ${colorScheme}`, async () => {
        const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
        const problems: string[] = []
        for (const name of pages) {
          const { page, errors, asked } = await openPage(browser, address + name, { colorScheme })
          await page.waitForLoadState('networkidle')
          for (const [width, height] of [
            [1600, 1000],
            [1440, 900],
            [768, 1000],
            [360, 740],
          ] as const) {
            await page.setViewportSize({ width, height })
            const wide = await page.evaluate<number>('document.documentElement.scrollWidth')
            if (wide > width) problems.push(`${name} is ${wide} px wide in a window of ${width}`)
            if (screenshots) {
              const file = `${name.replace(/\W+/g, '-')}-${colorScheme}-${width}.png`
              await page.screenshot({ path: path.join(screenshots, file) })
            }
          }
          await page.setViewportSize({ width: 1440, height: 900 })
          await page.evaluate(axe)
          const violations = await page.evaluate(async () => {
            type Violation = {
              id: string
              impact: string
              nodes: { html: string; failureSummary: string }[]
            }
            type Axe = { run(options: object): Promise<{ violations: Violation[] }> }
            const { axe } = globalThis as unknown as { axe: Axe }
            // VitePress's own sidebar has a button in a button; tables as GitHub knows them may have an empty corner.
            const rules = {
              'nested-interactive': { enabled: false },
              'empty-table-header': { enabled: false },
            }
            const { violations } = await axe.run({ rules })
            return violations.map(
              ({ id, impact, nodes }) =>
                `${impact} ${id}: ${nodes[0]!.failureSummary} ${nodes[0]!.html}`,
            )
          })
          problems.push(...violations.map((text) => `${name}: ${text.slice(0, 500)}`))
          problems.push(...errors.map((error) => `${name}: ${error}`))
          problems.push(
            ...asked.filter((url) => !url.startsWith(address) && !url.startsWith('data:')),
          )
          await page.context().close()
        }
        assert.deepEqual(problems, [])
      })
    }

    it('finds what is searched for', async () => {
      const { page, errors, asked } = await openPage(browser, `${address}/`)
      await page.getByRole('button', { name: 'Search' }).first().click()
      await page.locator('#localsearch-input').fill('PROMPT_TOO_LONG')
      const first = page.locator('#localsearch-list a').first()
      await first.waitFor()
      await first.click()
      await page.waitForURL(/\/(reference|guides|api)\//)
      assert.deepEqual([errors, asked.filter((url) => !url.startsWith(address))], [[], []])
      await page.context().close()
    })
  },
)
