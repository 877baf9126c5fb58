/** Earlier mixes as thumbnails. */
import type { Archive, Made } from './archive.js'
import { byId, make } from './dom.js'
import type { Picture } from './draft.js'

export class History {
  private readonly list = byId('history-list')
  private made: Made[] = []

  constructor(
    private readonly archive: Archive,
    private readonly onOpen: (made: Made) => void,
  ) {
    const clear = byId('clear-history')
    clear.addEventListener('click', () => {
      // Asked on the button itself: the second click does it.
      if (clear.dataset.sure === undefined) {
        clear.dataset.sure = ''
        clear.textContent = 'Delete all of them?'
        return
      }
      void this.archive.clear().then(() => this.refresh())
    })
    clear.addEventListener('blur', () => this.calm())
  }

  async refresh(): Promise<void> {
    this.made = await this.archive.all()
    this.calm()
    byId('no-history').hidden = this.made.length > 0
    byId('clear-history').hidden = this.made.length === 0
    for (const image of this.list.querySelectorAll('img')) URL.revokeObjectURL(image.src)
    this.list.replaceChildren(...this.made.map((made) => this.item(made)))
  }

  /** Of a recipe, the picture that it only names, if a mix here had it. */
  pictureOf(sha256: unknown): Picture | null {
    if (typeof sha256 !== 'string') return null
    return this.made.find(({ layout }) => layout?.sha256 === sha256)?.layout ?? null
  }

  private calm(): void {
    const clear = byId('clear-history')
    delete clear.dataset.sure
    clear.textContent = 'Clear'
  }

  private item(made: Made): HTMLElement {
    const { content, seed } = made.recipe.request
    const name = String(content)
    const open = make(
      'button',
      { type: 'button', class: 'thumb', title: `${name}, seed ${String(seed as number)}` },
      make('img', { src: URL.createObjectURL(made.thumbnail), alt: name, loading: 'lazy' }),
    )
    open.addEventListener('click', () => this.onOpen(made))
    const remove = make(
      'button',
      { type: 'button', class: 'remove', 'aria-label': `Delete ${name}` },
      '✕',
    )
    remove.addEventListener('click', () => {
      const next =
        open.parentElement?.nextElementSibling ?? open.parentElement?.previousElementSibling
      const at = next ? [...this.list.children].indexOf(next) : -1
      void this.archive
        .remove(made.id)
        .then(() => this.refresh())
        .then(() => this.list.children[Math.max(0, at - 1)]?.querySelector('button')?.focus())
    })
    return make('li', {}, open, remove)
  }
}
