/** The recipe of a picture, shown and taken over. */
import { byId, closable, make } from './dom.js'
import type { Recipe } from './draft.js'

export class RecipeDialog {
  private readonly dialog = byId<HTMLDialogElement>('recipe-dialog')
  private recipe: Recipe | undefined
  private onUse: (() => void) | undefined

  constructor() {
    closable(this.dialog)
    byId('use-recipe').addEventListener('click', () => {
      this.dialog.close()
      this.onUse?.()
    })
    const copy = byId('copy-recipe')
    copy.addEventListener('click', () => {
      // Of pages that are not local and not encrypted browsers have no clipboard.
      const writing = (navigator.clipboard as Clipboard | undefined)?.writeText(this.asJson())
      if (!writing) return this.selectJson()
      writing.then(
        () => (copy.textContent = 'Copied'),
        () => this.selectJson(),
      )
    })
    this.dialog.addEventListener('close', () => (copy.textContent = 'Copy as JSON'))
  }

  show(recipe: Recipe, picture: Blob, onUse: () => void): void {
    this.recipe = recipe
    this.onUse = onUse
    const { request, model, made } = recipe
    const address = URL.createObjectURL(picture)
    this.dialog.addEventListener('close', () => URL.revokeObjectURL(address), { once: true })
    const facts = make('dl')
    for (const [name, value] of factsOf(request, model, made)) {
      facts.append(make('dt', {}, name), make('dd', {}, value))
    }
    const json = make('pre', { tabindex: 0, 'aria-label': 'The recipe as JSON' }, this.asJson())
    byId('recipe-body').replaceChildren(
      make('div', { class: 'recipe' }, make('img', { src: address, alt: 'The picture' }), facts),
      make('details', {}, make('summary', {}, 'All of it'), json),
    )
    this.dialog.showModal()
  }

  private asJson(): string {
    return JSON.stringify(this.recipe, null, 2)
  }

  private selectJson(): void {
    const details = this.dialog.querySelector('details')
    const json = this.dialog.querySelector('pre')
    if (!details || !json) return
    details.open = true
    getSelection()?.selectAllChildren(json)
  }
}

function factsOf(
  request: Recipe['request'],
  model: Recipe['model'],
  made: Recipe['made'],
): [string, string][] {
  const { layout, content, attention, kMax, kMin, nu, steps, sampler, seed } = request
  const { width, height, guidanceScale, method } = request
  const { prompt, path } = Object(layout) as { prompt?: string; path?: string }
  const facts: [string, unknown][] = [
    ['Layout', prompt ?? path ?? 'a picture'],
    ['Content', content],
    ['Words', scales(attention)],
    ['Method', method],
    ['kMax, kMin', `${String(kMax)}, ${String(kMin)}`],
    ['nu', nu],
    ['Map', request.nuMap ? 'of nu' : undefined],
    ['Steps', `${String(steps)}, ${String(sampler)}`],
    ['Guidance', guidanceScale],
    ['Seed', seed],
    ['Size', `${String(width)} × ${String(height)}`],
    ['Model', model.name],
    ['Made by', `magicmix ${String(made.version)} on ${String(made.device)}`],
  ]
  return facts
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)])
}

function scales(attention: unknown): string {
  const all = Array.isArray(attention)
    ? (attention as { text: string; scale: number }[]).map(({ text, scale }) => [text, scale])
    : Object.entries(Object(attention) as Record<string, number>)
  return all.map(([text, scale]) => `${text} ×${scale}`).join(', ')
}
