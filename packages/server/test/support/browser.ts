/** A real Chromium, if there is one: tests say so where there is none, and are skipped. */
import { existsSync } from 'node:fs'
import path from 'node:path'

import { type Browser, type Page, chromium } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'chrome']

export function findChromium(): string | undefined {
  const { MAGICMIX_CHROMIUM: named, PATH = '' } = process.env
  if (named) return named
  const folders = PATH.split(path.delimiter)
  return names
    .flatMap((name) => folders.map((folder) => path.join(folder, name)))
    .find((file) => existsSync(file))
}

export function launch(executablePath: string): Promise<Browser> {
  // As root, which containers have, Chromium refuses to make its sandbox.
  const isRoot = process.getuid?.() === 0
  return chromium.launch({ executablePath, args: isRoot ? ['--no-sandbox'] : [] })
}

export interface PageOptions {
  width?: number
  height?: number
  colorScheme?: 'light' | 'dark'
  reducedMotion?: 'reduce' | 'no-preference'
}

/** A page of a profile of its own; what goes wrong in it is in `errors`. */
export async function openPage(
  browser: Browser,
  address: string,
  { width = 1600, height = 1000, ...options }: PageOptions = {},
): Promise<{ page: Page; errors: string[]; asked: string[] }> {
  const context = await browser.newContext({
    viewport: { width, height },
    acceptDownloads: true,
    ...options,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  const errors: string[] = []
  const asked: string[] = []
  page.on('pageerror', (error) => errors.push(error.stack ?? error.message))
  page.on('console', (message) => {
    // Answers that refuse something are logged by the browser itself.
    const isAnswer = message.text().startsWith('Failed to load resource')
    if (message.type() === 'error' && !isAnswer) errors.push(message.text())
  })
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(address)
  return { page, errors, asked }
}
