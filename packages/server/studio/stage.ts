/** The large picture: previews while it is mixed, the result, or a grid; and what can be done with it. */
import type { Made } from './archive.js'
import { byId } from './dom.js'

export interface StageActions {
  cancel: () => void
  showRecipe: (made: Made) => void
  asLayout: (made: Made) => void
  keepSeed: (made: Made) => void
}

export class Stage {
  private readonly picture = byId<HTMLImageElement>('picture')
  private readonly bar = byId<HTMLProgressElement>('progress-bar')
  private readonly download = byId<HTMLAnchorElement>('download')
  private shown: Made | undefined
  private hasGrid = false

  constructor(actions: StageActions) {
    byId('cancel').addEventListener('click', () => {
      byId('progress-text').textContent = 'Cancelling'
      actions.cancel()
    })
    const withShown = (id: string, act: (made: Made) => void) =>
      byId(id).addEventListener('click', () => this.shown && act(this.shown))
    withShown('show-recipe', actions.showRecipe)
    withShown('as-layout', actions.asLayout)
    withShown('keep-seed', actions.keepSeed)
    byId('back-to-grid').addEventListener('click', () => this.showGrid())
  }

  /** A mix begins; the last picture stays, dimmed, until there is a preview. */
  begin(): void {
    byId('progress').hidden = false
    byId('tools').hidden = true
    byId('frame').classList.add('busy')
    this.progress(0, 'Sending')
    this.say('Mixing')
    if (window.matchMedia('(max-width: 799px)').matches) {
      byId('stage').scrollIntoView({ block: 'start', behavior: 'auto' })
    }
  }

  progress(fraction: number, text: string): void {
    this.bar.value = fraction
    byId('progress-text').textContent = text
  }

  /** A mix has ended, in one way or another. */
  end(said: string): void {
    byId('progress').hidden = true
    byId('frame').classList.remove('busy')
    this.say(said)
  }

  preview(mediaType: string, base64: string): void {
    this.put(`data:${mediaType};base64,${base64}`, 'A preview of the mix', true)
  }

  /** Back to what was there before a mix that gave nothing. */
  restore(): void {
    if (this.shown) this.show(this.shown)
    else if (this.hasGrid) this.showGrid()
    else {
      this.picture.hidden = true
      byId('empty').hidden = false
    }
  }

  show(made: Made): void {
    this.shown = made
    const { content, seed } = made.recipe.request
    const address = URL.createObjectURL(made.picture)
    this.put(address, String(content), false)
    URL.revokeObjectURL(this.download.href)
    this.download.href = address
    this.download.download = `${fileName(String(content))}-${String(seed)}.png`
    byId('tools').hidden = false
    byId('back-to-grid').hidden = !this.hasGrid
  }

  showGrid(): void {
    this.hasGrid = true
    this.shown = undefined
    byId('empty').hidden = true
    this.picture.hidden = true
    byId('grid').hidden = false
    byId('tools').hidden = true
  }

  say(text: string): void {
    byId('said').textContent = text
  }

  private put(address: string, alt: string, isPreview: boolean): void {
    byId('empty').hidden = true
    byId('grid').hidden = true
    this.picture.hidden = false
    this.picture.src = address
    this.picture.alt = alt
    this.picture.classList.toggle('preview', isPreview)
  }
}

function fileName(text: string): string {
  return (
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60) || 'mix'
  )
}
