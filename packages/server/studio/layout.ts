/** The layout: a picture that is dropped, pasted or chosen, with its map, or a prompt. */
import { type Api, Problem } from './api.js'
import { byId, make } from './dom.js'
import type { Draft, Picture, Recipe, Store } from './draft.js'
import { clearError, showError } from './errors.js'

export interface LayoutActions {
  paint: () => void
  openRecipe: (recipe: Recipe, from: Blob) => void
}

export class Layout {
  private readonly image = byId<HTMLImageElement>('layout-image')
  private readonly map = byId<HTMLCanvasElement>('layout-map')
  private readonly file = byId<HTMLInputElement>('layout-file')
  private readonly prompt = byId<HTMLInputElement>('layout-prompt')
  private readonly note = byId('layout-note')

  /** @param canPaint whether the server takes maps */
  constructor(
    private readonly api: Api,
    private readonly store: Store,
    private readonly canPaint: boolean,
    private readonly actions: LayoutActions,
  ) {
    this.file.addEventListener('change', () => {
      const [file] = this.file.files ?? []
      if (file) this.take(file, file.name)
      this.file.value = ''
    })
    this.prompt.addEventListener('input', () => {
      store.change({ prompt: this.prompt.value })
      clearError('layout')
    })
    for (const radio of this.radios) {
      radio.addEventListener('change', () => {
        store.change({ kind: radio.value === 'prompt' ? 'prompt' : 'picture', map: null })
        clearError('layout')
      })
    }
    byId('paint').addEventListener('click', () => actions.paint())
    byId('remove-map').addEventListener('click', () => store.change({ map: null }))
    byId('remove-layout').addEventListener('click', () => {
      store.change({ picture: null, map: null })
      this.say()
      this.file.focus()
    })
    this.image.addEventListener('error', () => {
      // TIFF, for one: the server takes it.
      this.say('This browser cannot show the picture; the server may still take it.')
    })
    this.takeDrops()
    store.listen((draft, before) => this.show(draft, before))
  }

  private get radios(): NodeListOf<HTMLInputElement> {
    return document.querySelectorAll('[name=layout-kind]')
  }

  /** A picture from people; it may carry a recipe. */
  take(blob: Blob, name: string): void {
    clearError('layout')
    this.store.change({ kind: 'picture', picture: { blob, name }, map: null })
    this.say()
    void this.lookForRecipe(blob)
  }

  private async lookForRecipe(blob: Blob): Promise<void> {
    try {
      if (!(await mayCarryRecipe(blob))) return
      const recipe = await recipeIn(this.api, blob)
      if (this.store.draft.picture?.blob !== blob) return
      const open = make('button', { type: 'button', class: 'small' }, 'Open it')
      open.addEventListener('click', () => this.actions.openRecipe(recipe, blob))
      this.say('This picture carries a recipe.', open)
    } catch (error) {
      if (this.store.draft.picture?.blob !== blob || !(error instanceof Problem)) return
      // That it has none, or a damaged one, is no reason not to mix.
      if (!error.code.startsWith('RECIPE_')) showError('layout', error.message)
    }
  }

  /** Nothing takes the note away. */
  say(...what: (string | Node)[]): void {
    this.note.hidden = what.length === 0
    this.note.replaceChildren(...what)
  }

  private show(draft: Draft, before: Draft): void {
    const { kind, picture, prompt, map } = draft
    for (const radio of this.radios) radio.checked = radio.value === kind
    byId('layout-picture').hidden = kind !== 'picture'
    byId('layout-words').hidden = kind !== 'prompt'
    if (this.prompt.value !== prompt) this.prompt.value = prompt
    byId('layout-tools').hidden = !picture
    byId('paint').hidden = !this.canPaint
    byId('paint').textContent = map ? 'Paint the map…' : 'Paint where it mixes…'
    byId('remove-map').hidden = !map
    byId('drop').classList.toggle('full', picture !== null)
    this.image.hidden = !picture
    if (picture?.blob !== before.picture?.blob) this.showPicture(picture)
    if (map !== before.map) void this.showMap(map)
  }

  private showPicture(picture: Picture | null): void {
    URL.revokeObjectURL(this.image.src)
    if (!picture) {
      this.image.removeAttribute('src')
      return
    }
    this.image.alt = `The layout: ${picture.name}`
    this.image.src = URL.createObjectURL(picture.blob)
  }

  /** Over the picture: dark where the layout stays. */
  private async showMap(map: Blob | null): Promise<void> {
    this.map.hidden = !map
    if (!map) return
    const bitmap = await createImageBitmap(map)
    const context = this.map.getContext('2d')
    if (!context) return
    this.map.width = bitmap.width
    this.map.height = bitmap.height
    context.drawImage(bitmap, 0, 0)
    const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height)
    const { data } = pixels
    for (let i = 0; i < data.length; i += 4) {
      const stays = 255 - (data[i] ?? 0)
      data.set([43, 122, 120, stays * 0.75], i)
    }
    context.putImageData(pixels, 0, 0)
  }

  private takeDrops(): void {
    const drop = byId('drop')
    let depth = 0
    const light = (isOver: boolean) => drop.classList.toggle('over', isOver)
    document.addEventListener('dragenter', (event) => {
      if (!hasFiles(event)) return
      depth++
      light(true)
    })
    document.addEventListener('dragleave', (event) => {
      if (hasFiles(event) && --depth <= 0) light(false)
    })
    document.addEventListener('dragover', (event) => {
      if (hasFiles(event)) event.preventDefault()
    })
    document.addEventListener('drop', (event) => {
      depth = 0
      light(false)
      const [file] = event.dataTransfer?.files ?? []
      if (!file) return
      event.preventDefault()
      if (!document.querySelector('dialog[open]')) this.take(file, file.name)
    })
    document.addEventListener('paste', (event) => {
      const [file] = event.clipboardData?.files ?? []
      if (!file || document.querySelector('dialog[open]')) return
      event.preventDefault()
      this.take(file, file.name)
    })
  }
}

/** @throws Problem RECIPE_NOT_FOUND, among others */
export function recipeIn(api: Api, picture: Blob): Promise<Recipe> {
  const form = new FormData()
  form.set('picture', picture, 'picture')
  return api.post<Recipe>('v1/recipes', form)
}

/** Wherever a recipe is, the name of what wrote it is beside it. */
async function mayCarryRecipe(picture: Blob): Promise<boolean> {
  const text = new TextDecoder('latin1').decode(await picture.arrayBuffer())
  return text.includes('magicmix')
}

function hasFiles({ dataTransfer }: DragEvent): boolean {
  return dataTransfer?.types.includes('Files') ?? false
}
