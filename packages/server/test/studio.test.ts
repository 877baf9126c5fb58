/** The studio, in a real browser against the model in the box. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { type PictureRecipe, readRecipe } from 'magicmix'
import { createServer } from 'magicmix-server'
import type { Browser, Page } from 'playwright-core'
import sharp from 'sharp'

import { mixedStates } from '../../../ts/request/nu.js'
import { type PageOptions, findChromium, launch, openPage } from './support/browser.js'
import { type Served, served } from './support/served.js'

const layouts = path.join(__dirname, '..', '..', '..', 'models', 'layouts')
const heart = path.join(layouts, 'heart.png')
const chromium = findChromium()
const content = 'a photo of a lemon'
/** Where screenshots are left to be looked at, if anybody wants to. */
const { MAGICMIX_SCREENSHOTS: screenshots } = process.env

const title = chromium ? 'the studio' : 'the studio (skipped: there is no Chromium here)'
;(chromium ? describe : describe.skip)(title, () => {
  let place: Served & { end(): Promise<void> }
  let browser: Browser
  let page: Page
  let errors: string[]

  before(async function () {
    this.timeout(120_000)
    ;[place, browser] = await Promise.all([served(), launch(chromium!)])
  })
  after(async () => {
    await browser?.close()
    await place?.end()
  })

  /** A page with nothing of earlier tests. */
  async function fresh(options: PageOptions = {}, address = place.address) {
    const opened = await openPage(browser, address, options)
    ;({ page, errors } = opened)
    if (address === place.address) await page.locator('html[data-ready]').waitFor()
    return opened
  }
  afterEach(async function () {
    if (screenshots && this.currentTest) {
      const name = this.currentTest.title.replace(/\W+/g, '-').slice(0, 60)
      await page.screenshot({ path: path.join(screenshots, `${name}.png`) })
    }
    await page.context().close()
    assert.deepEqual(errors, [])
  })

  /** A layout, a content, and few steps. */
  async function fillIn(steps = 6): Promise<void> {
    await page.setInputFiles('#layout-file', heart)
    await page.fill('#content', content)
    await option('steps', String(steps))
  }
  async function option(name: string, value: string): Promise<void> {
    await unfold('more')
    await page.fill(`#option-${name}`, value)
  }
  async function unfold(id: string): Promise<void> {
    const details = page.locator(`#${id}`)
    if ((await details.getAttribute('open')) === null) await page.click(`#${id} > summary`)
  }
  const word = (text: string) => page.getByRole('slider', { name: text, exact: true })
  const result = () => page.locator('#tools').waitFor()
  const textOf = (id: string) => page.locator(`#${id}`).innerText()
  const errorOf = (name: string) => page.locator(`[data-option="${name}"] > .error`)

  /** The picture that Download gives. */
  async function download(): Promise<{ name: string; bytes: Buffer; recipe: PictureRecipe }> {
    const [file] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
    const bytes = await readFile(await file.path())
    return { name: file.suggestedFilename(), bytes, recipe: await readRecipe(bytes) }
  }
  async function pixelsOf(bytes: Buffer): Promise<Buffer> {
    return sharp(bytes).raw().toBuffer()
  }

  it('comes with a strict policy, and loads nothing from elsewhere', async () => {
    const { asked } = await fresh()
    const strange = asked.filter(
      (url) => !url.startsWith(place.address) && !/^(blob|data):/.test(url),
    )
    assert.deepEqual(strange, [])
    const { headers } = await fetch(place.address)
    const policy = headers.get('content-security-policy') ?? ''
    assert.match(policy, /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/)
    assert.doesNotMatch(policy, /unsafe|\*|https?:/)
    assert.match(headers.get('content-type') ?? '', /^text\/html/)
    const traversal = await fetch(`${place.address}/studio/..%2f..%2fpackage.json`)
    assert.ok([400, 403, 404].includes(traversal.status), `${traversal.status}`)
  })

  it('mixes a picture with a content: tokens, scales, previews, the result, its recipe', async () => {
    await fresh()
    await page.setInputFiles('#layout-file', heart)
    await page.fill('#content', content)
    await word('lemon').waitFor()
    assert.match(await textOf('token-count'), /^5 of 75 tokens/)

    await word('lemon').focus()
    for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowUp')
    assert.equal(await word('lemon').getAttribute('aria-valuenow'), '1.3')
    const box = (await word('photo').boundingBox())!
    await page.mouse.move(box.x + 10, box.y + 10)
    await page.mouse.down()
    await page.mouse.move(box.x - 15, box.y + 10, { steps: 5 })
    await page.mouse.up()
    assert.equal(await word('photo').getAttribute('aria-valuenow'), '0.5')

    await option('steps', '8')
    await option('seed', '5')
    // A mix of the model in the box is over before anybody could look: the page notes what it shows.
    await page.evaluate(`
      window.shown = []
      new MutationObserver(() => shown.push([picture.className, picture.src.slice(0, 14)]))
        .observe(document.getElementById('picture'), { attributeFilter: ['src'] })`)
    await page.press('#content', 'Enter')
    await result()
    const shown = await page.evaluate<[string, string][]>('shown')
    assert.ok(shown.some(([, address]) => address === 'data:image/png'))
    assert.match(await textOf('said'), /^Mixed in .*, seed 5\.$/)
    assert.equal(await page.locator('#picture').getAttribute('alt'), content)

    const { name, bytes, recipe } = await download()
    assert.equal(name, 'a-photo-of-a-lemon-5.png')
    const { attention, steps, seed } = recipe.request
    assert.deepEqual([steps, seed], [8, 5])
    assert.deepEqual(
      (attention as { text: string; scale: number }[]).map(({ text, scale }) => [text, scale]),
      [
        ['lemon', 1.3],
        ['photo', 0.5],
      ],
    )
    const own = await place.mixer.mix({
      ...{ layout: await readFile(heart), content, steps: 8, seed: 5 },
      attention: { lemon: 1.3, photo: 0.5 },
    })
    assert.deepEqual(await pixelsOf(bytes), Buffer.from(own.data))
  })

  it('mixes a grid whose cells are clicked to go on from', async () => {
    await fresh()
    await fillIn()
    await unfold('grid-maker')
    await page.selectOption('#across-option', 'nu')
    await page.fill('#across-values', '0.2, 0.8')
    await page.selectOption('#down-option', 'content')
    await page.fill('#down-values', 'a photo of a lemon | a photo of a tiger')
    assert.equal(await textOf('make-grid'), 'Mix the grid (4)')
    await page.click('#make-grid')
    const cell = page.getByRole('button', { name: 'Go on from nu 0.8, a photo of a tiger' })
    await cell.and(page.locator('.there')).waitFor()
    await page.getByRole('link', { name: 'Download the sheet' }).waitFor()
    assert.equal(await page.locator('#grid .there').count(), 4)
    await cell.click()
    await result()
    assert.equal(await page.inputValue('#content'), 'a photo of a tiger')
    assert.equal(await page.inputValue('#nu'), '0.8')
    assert.equal(await page.inputValue('#option-steps'), '6')
    const { recipe } = await download()
    assert.deepEqual([recipe.request.nu, recipe.request.content], [0.8, 'a photo of a tiger'])
    assert.equal(await page.inputValue('#option-seed'), String(recipe.request.seed))

    await page.click('#back-to-grid')
    assert.equal(await page.locator('#grid .there').first().isVisible(), true)
    // Of a grid that makes no sense it is said before anything is sent.
    await page.selectOption('#down-option', 'nu')
    await page.click('#make-grid')
    assert.match(await page.locator('#grid-maker .error').innerText(), /same option/)
    await page.selectOption('#down-option', '')
    await page.fill('#across-values', '0.2, 2')
    await page.click('#make-grid')
    await page.getByText(/between 0 and 1 for vary\.nu\[1\]/).waitFor()
  })

  it('opens the recipe of a mix of its history, and of a picture that is dropped', async () => {
    await fresh()
    await fillIn()
    await page.fill('#k-max', '0.8')
    await page.click('#mix')
    await result()
    const { bytes, recipe } = await download()

    // Another life of the page: the picture is still there.
    await page.reload()
    await page.locator('#history-list .thumb').click()
    await page.click('#show-recipe')
    const dialog = page.getByRole('dialog', { name: 'Recipe' })
    assert.match(await dialog.innerText(), new RegExp(`lemon.*Seed\\s+${recipe.request.seed}`, 's'))
    await page.keyboard.press('Escape')
    assert.equal(await dialog.isVisible(), false)
    assert.equal(await page.inputValue('#content'), '')

    const files = await page.evaluateHandle(`(() => {
      const bytes = Uint8Array.from(atob('${bytes.toString('base64')}'), (c) => c.charCodeAt(0))
      const files = new DataTransfer()
      files.items.add(new File([bytes], 'mix.png', { type: 'image/png' }))
      return files
    })()`)
    await page.dispatchEvent('#stage', 'drop', { dataTransfer: files })
    await page.getByRole('button', { name: 'Open it' }).click()
    await page.getByRole('button', { name: 'Use this recipe' }).click()
    assert.equal(await page.inputValue('#content'), content)
    assert.equal(await page.inputValue('#k-max'), '0.8')
    assert.equal(await page.inputValue('#option-seed'), String(recipe.request.seed))
    // The layout, which the recipe only names, is that of the history.
    assert.equal(await page.locator('#layout-image').getAttribute('alt'), 'The layout: heart.png')
    await page.locator('#layout-note').waitFor({ state: 'hidden' })
    await page.locator('#tools').waitFor({ state: 'visible' })
    await page.click('#mix')
    await page.locator('#history-list .thumb').nth(1).waitFor()
    assert.deepEqual(await pixelsOf((await download()).bytes), await pixelsOf(bytes))

    await page.locator('#history-list li').first().hover()
    await page
      .getByRole('button', { name: `Delete ${content}` })
      .first()
      .click()
    await page.locator('#history-list li').nth(1).waitFor({ state: 'detached' })
    await page.click('#clear-history')
    await page.getByRole('button', { name: 'Delete all of them?' }).click()
    await page.locator('#no-history').waitFor()
  })

  it('says what a recipe does not have, and what carries none', async () => {
    await fresh()
    const mix = await place.mixer.mix({ layout: await readFile(heart), content, steps: 4, seed: 1 })
    const buffer = await mix.toBuffer({ format: 'webp', recipe: true })
    const file = { name: 'mix.webp', mimeType: 'image/webp', buffer }
    await page.setInputFiles('#recipe-file', file)
    await page.getByRole('button', { name: 'Use this recipe' }).click()
    assert.match(await textOf('layout-note'), /not in the recipe: give it yourself/)
    await page.click('#mix')
    assert.match(await errorOf('layout').innerText(), /Give it a picture/)
    await page.setInputFiles('#recipe-file', heart)
    await page.locator('#form-error').waitFor()
    assert.match(await textOf('form-error'), /carries no recipe/)
  })

  it('says every error in words, next to what it concerns', async () => {
    await fresh()
    await page.click('#mix')
    assert.match(await errorOf('layout').innerText(), /Give it a picture/)
    await page.check('[name=layout-kind][value=prompt]')
    await page.fill('#layout-prompt', 'a photo of a pear')
    await page.click('#mix')
    assert.match(await errorOf('content').innerText(), /Say what it should become/)
    assert.equal(await page.evaluate('document.activeElement.id'), 'content')

    await page.fill('#content', content)
    await option('steps', '151')
    await page.click('#mix')
    await errorOf('steps').waitFor()
    assert.match(await errorOf('steps').innerText(), /At most 150 steps/)
    assert.equal(await page.evaluate('document.activeElement.id'), 'option-steps')
    assert.equal(await page.getAttribute('#option-steps', 'aria-invalid'), 'true')
    await page.fill('#option-steps', '4')
    assert.equal(await errorOf('steps').isVisible(), false)

    // In a part that is folded: it opens.
    await page.click('#json-more > summary')
    await page.fill('#option-cache', '{ every: 2 }')
    await page.click('#mix')
    assert.match(await errorOf('cache').innerText(), /no JSON/)
    await page.fill('#option-cache', '{ "every": 5000 }')
    await page.click('#json-more > summary')
    await page.click('#mix')
    await errorOf('cache').waitFor()
    assert.match(await errorOf('cache').innerText(), /for cache\.every/)
    await page.fill('#option-cache', '')

    await page.fill('#content', 'cat '.repeat(80))
    await errorOf('content').waitFor()
    assert.match(await errorOf('content').innerText(), /^5 tokens too many/)
    await page.click('#mix')
    await page
      .getByText(/tokens/)
      .and(errorOf('content'))
      .waitFor()
    await page.setInputFiles('#layout-file', {
      ...{ name: 'no.png', mimeType: 'image/png', buffer: Buffer.from('nothing') },
    })
    await page.fill('#content', content)
    await page.click('#mix')
    await errorOf('layout').waitFor()
    assert.match(await errorOf('layout').innerText(), /none of JPEG, PNG/)
    assert.equal(place.mixer.queue.running, 0)
  })

  it('cancels, and mixes again', async () => {
    await fresh()
    await fillIn(150)
    await option('width', '256')
    await option('height', '256')
    await page.press('#content', 'Enter')
    await page.getByText(/^Step \d+ of /).waitFor()
    const value = () => page.evaluate<number>("document.getElementById('progress-bar').value")
    assert.ok((await value()) < 1)
    await page.click('#cancel')
    await page.getByText('Cancelled.').waitFor()
    assert.equal(await textOf('mix'), 'Mix')
    assert.equal(await page.locator('#empty').isVisible(), true)
    while (place.mixer.queue.running > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    await option('steps', '4')
    await page.click('#mix')
    await result()
  })

  it('goes on with what it waited for when it is loaded again', async () => {
    await fresh()
    await fillIn(150) // longer than a page takes to come again, on a fast machine too
    await option('width', '320')
    await option('height', '320')
    await option('seed', '6')
    await page.press('#content', 'Enter')
    await page.getByText(/^Step \d+ of /).waitFor()
    await page.reload()
    await page.getByText(/^Step \d+ of /).waitFor()
    assert.equal(await textOf('mix'), 'Mixing…')
    assert.equal(await page.inputValue('#content'), content)
    await result()
    const { recipe } = await download()
    assert.deepEqual([recipe.request.steps, recipe.request.seed], [150, 6])
    // The layout's picture is there for the next one, and nothing is waited for any more.
    await page.reload()
    await page.locator('html[data-ready]').waitFor()
    await page.locator('#history-list .thumb').first().click()
    await page.click('#show-recipe')
    await page.click('#use-recipe')
    await option('steps', '4')
    await page.click('#mix')
    await page.getByText(/^Mixed in .*, seed 6\.$/).waitFor()
    assert.equal(await page.locator('#history-list .thumb').count(), 2)

    await option('steps', '30')
    await unfold('grid-maker')
    await page.fill('#across-values', '0.2, 0.8')
    await page.selectOption('#down-option', '')
    await page.click('#make-grid')
    await page.locator('#grid .there').first().waitFor()
    await page.reload()
    await page.getByRole('link', { name: 'Download the sheet' }).waitFor()
    assert.equal(await page.locator('#grid .there').count(), 2)
  })

  it('paints a map of nu: where it is painted, the layout stays', async () => {
    await fresh()
    await fillIn()
    await option('seed', '3')
    await page.click('#paint')
    const mask = page.locator('#painter-mask')
    await page.getByRole('dialog', { name: 'Where it mixes' }).waitFor()
    const painted = () =>
      page.evaluate<number>(`(() => {
        const mask = document.getElementById('painter-mask')
        const { data } = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height)
        return data.filter((value, i) => i % 4 === 3 && value > 127).length / (data.length / 4)
      })()`)
    const box = (await mask.boundingBox())!
    await page.fill('#brush-size', '30')
    await page.mouse.move(box.x + 20, box.y + box.height / 2)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width - 20, box.y + box.height / 2, { steps: 6 })
    await page.mouse.up()
    const stroke = await painted()
    assert.ok(stroke > 0.15 && stroke < 0.45, `${stroke}`)
    await page.check('[name=brush-kind][value=erase]')
    await mask.focus()
    await page.keyboard.press(' ')
    assert.ok((await painted()) < stroke)
    await page.keyboard.press('Control+z')
    assert.equal(await painted(), stroke)
    await page.click('#painter-invert')
    assert.ok(Math.abs((await painted()) + stroke - 1) < 0.02)
    await page.click('#painter-clear')
    await page.click('#painter-invert')
    assert.equal(await painted(), 1)
    await page.click('#painter-done')
    await page.locator('#layout-map').waitFor()

    await page.click('#mix')
    await result()
    const { bytes, recipe } = await download()
    assert.ok(recipe.request.nuMap)
    const own = await place.mixer.mix({
      ...{ layout: await readFile(heart), content, steps: 6, seed: 3, nu: 0 },
    })
    const pixels = await pixelsOf(bytes)
    const furthest = pixels.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - own.data[i]!)),
      0,
    )
    assert.ok(furthest <= 2, `${furthest}`)

    await page.click('#remove-map')
    assert.equal(await page.locator('#layout-map').isVisible(), false)
  })

  it('moves kMax, kMin and nu in the drawing and with the keyboard', async () => {
    await fresh()
    const values = () =>
      Promise.all(
        ['k-max', 'k-min', 'nu'].map(async (id) => Number(await page.inputValue(`#${id}`))),
      )
    const { x, y, width } = (await page.locator('#schedule').boundingBox())!
    const drag = async (from: [number, number], to: [number, number]) => {
      await page.mouse.move(x + from[0] * width, y + from[1])
      await page.mouse.down()
      await page.mouse.move(x + to[0] * width, y + to[1], { steps: 4 })
      await page.mouse.up()
    }
    await drag([0.4, 70], [0.2, 70])
    await drag([0.7, 70], [0.9, 70])
    await drag([0.5, 60], [0.5, 70])
    assert.deepEqual(await values(), [0.8, 0.1, 0.5])
    assert.match(await textOf('schedule-text'), /10 steps left out.*; 34 mixed; 5 of the content/)
    // One pushes the other.
    await page.locator('#k-max').focus()
    await page.keyboard.press('Home')
    assert.deepEqual(await values(), [0, 0, 0.5])
    // To the right is later, as in the drawing.
    await page.keyboard.press('ArrowLeft')
    assert.equal(await page.inputValue('#k-max'), '0.01')
    await page.check('#nu-changes')
    await page.fill('#nu-end', '0.1')
    await fillIn(8)
    await page.fill('#k-max', '0.9')
    await page.click('#mix')
    await result()
    const { nu } = (await download()).recipe.request
    assert.deepEqual(nu, { from: 0.5, to: 0.1, curve: 'linear' })
  })

  it('counts steps and words as the engine does', async () => {
    await fresh()
    const cases = [
      [0.6, 0.3, 50],
      [0.7, 0.1, 10],
      [0.6, 0.6, 20],
      [1, 0, 8],
      [0.05, 0, 30],
      [0.95, 0.9, 7],
    ] as const
    for (const [kMax, kMin, steps] of cases) {
      const { mixed, before, alone, shares } = await page.evaluate<Record<string, never>>(
        `import('/studio/schedule-steps.js')
           .then(({ stepsOfMix }) => stepsOfMix(${kMax}, ${kMin}, 0.5, ${steps}))`,
      )
      assert.equal(mixed, mixedStates({ kMax, kMin, steps }), `${kMax} ${kMin} ${steps}`)
      assert.equal(before, steps - Math.floor(kMax * steps + 1e-9))
      const count = (share: number) =>
        (shares as unknown as number[]).filter((each) => each === share).length
      assert.deepEqual([count(0.5), count(1)], [mixed, alone])
    }
    await page.fill('#content', 'A lemonade, don’t worry: a 🍋 and a lemonadezzz!')
    await word('lemonadezzz').waitFor()
    const names = await page.evaluate<string[]>(
      "[...document.querySelectorAll('.word')].map((each) => each.ariaLabel)",
    )
    assert.deepEqual(names.slice(0, 3), ['a, number 1', 'lemonade', ','])
    assert.deepEqual(names.slice(-4), ['and', 'a, number 3', 'lemonadezzz', '!'])
    assert.equal(await page.locator('.word .tokens span').count(), await tokenCount())
  })
  async function tokenCount(): Promise<number> {
    return Number(/^\d+/.exec(await textOf('token-count'))?.[0])
  }

  it('asks for the token of a server that has one', async () => {
    const server = await createServer({ mixer: place.mixer, token: 'secret' })
    try {
      await fresh({}, await server.listen())
      const dialog = page.getByRole('dialog', { name: 'This server wants its token' })
      await dialog.waitFor()
      await page.fill('#token', 'guess')
      await page.keyboard.press('Enter')
      await page.getByText('That is not its token.').waitFor()
      await page.fill('#token', 'secret')
      await page.keyboard.press('Enter')
      await page.locator('html[data-ready]').waitFor()
      await fillIn(4)
      await page.click('#mix')
      await result()
    } finally {
      await server.close()
    }
  })

  it('is used with the keyboard alone', async () => {
    await fresh()
    const order: string[] = []
    for (let i = 0; i < 15; i++) {
      await page.keyboard.press('Tab')
      order.push(
        await page.evaluate<string>(`(() => {
        const { id, name, textContent } = document.activeElement
        return id || name || textContent.trim()
      })()`),
      )
    }
    assert.deepEqual(order, [
      ...['To the picture', 'open-recipe', 'theme', 'layout-kind', 'layout-file', 'content'],
      ...[
        'method',
        'k-max',
        'k-min',
        'nu',
        'nu-changes',
        'Grid of tries',
        'More options',
        'mix',
        'example',
      ],
    ])
    await page.keyboard.press('Enter')
    await word('lemon').waitFor()
    assert.equal(await page.evaluate('document.activeElement.id'), 'mix')
    await page.keyboard.press('Enter')
    await result()
    assert.equal(await page.evaluate('document.activeElement.id'), 'mix')
  })

  it('keeps the colours that people choose, and moves nothing where that is not wanted', async () => {
    await fresh({ colorScheme: 'light', reducedMotion: 'reduce' })
    const ground = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
    const light = await ground()
    await page.selectOption('#theme', 'dark')
    const dark = await ground()
    assert.notEqual(light, dark)
    await page.reload()
    await page.locator('html[data-ready]').waitFor()
    assert.equal(await ground(), dark)
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.selectOption('#theme', 'light')
    assert.equal(await ground(), light)
    const moving = await page.evaluate(`[...document.querySelectorAll('*')]
      .filter((each) => getComputedStyle(each).transitionDuration !== '0s').length`)
    assert.equal(moving, 0)
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [360, 1600]) {
      it(`has no serious findings of axe: ${colorScheme}, ${width} px`, async () => {
        await fresh({ colorScheme, width, height: 800 })
        const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8')
        await page.evaluate(axe)
        await check('nothing yet')
        await fillIn(4)
        await word('lemon').press('ArrowUp')
        await unfold('grid-maker')
        await page.click('#json-more > summary')
        await page.check('#nu-changes')
        await page.click('#mix')
        await result()
        await option('steps', '151')
        await page.click('#mix')
        await errorOf('steps').waitFor()
        await check('a result, and an error')
        await option('steps', '4')
        await page.fill('#across-values', '0.2, 0.8')
        await page.selectOption('#down-option', '')
        await page.click('#make-grid')
        await page.getByRole('link', { name: 'Download the sheet' }).waitFor()
        await check('a grid')
        await page.locator('#history-list .thumb').first().click()
        await page.click('#show-recipe')
        await page.click('#recipe-dialog summary')
        await check('a recipe')
        await page.keyboard.press('Escape')
        await page.click('#paint')
        await page.locator('#painter[open]').waitFor()
        await check('the painter')
      })
    }
  }

  async function check(what: string): Promise<void> {
    const { violations } = await page.evaluate<Axe>('axe.run()')
    const findings = violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
    assert.deepEqual(findings, [], what)
    const excess = await page.evaluate<number>(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    )
    assert.equal(excess, 0, `${what}: wider than the window`)
    if (screenshots) {
      const { width } = page.viewportSize()!
      const name = `axe-${width}-${what.replace(/\W+/g, '-')}-${Date.now()}.png`
      await page.screenshot({ path: path.join(screenshots, name) })
    }
  }
})

interface Axe {
  violations: { id: string; impact: string; nodes: { html: string }[] }[]
}
