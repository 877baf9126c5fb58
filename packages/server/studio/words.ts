/** The content prompt: its tokens, and how much each word counts, on the words themselves. */
import { type Api, Problem } from './api.js'
import { byId, later, make } from './dom.js'
import type { Scale, Store } from './draft.js'
import { clearError, showError } from './errors.js'

interface Token {
  id: number
  text: string
  index: number
}

/** A word of the prompt with its tokens. */
export interface Word {
  text: string
  tokens: Token[]
  /** The number of its occurrence, from 1, and how often its tokens occur. */
  occurrence: number
  occurrences: number
}

const most = 2
const pixelsPerUnit = 50

export class Words {
  private readonly input = byId<HTMLInputElement>('content')
  private readonly list = byId('words')
  private readonly count = byId('token-count')
  private words: Word[] = []
  private asked = 0

  constructor(
    private readonly api: Api,
    private readonly store: Store,
  ) {
    this.input.addEventListener('input', () => {
      store.change({ content: this.input.value })
      clearError('content')
    })
    const soon = later(150, () => void this.tokenize())
    store.listen((draft, before) => {
      if (this.input.value !== draft.content) this.input.value = draft.content
      if (draft.content !== before.content || draft.model !== before.model) soon()
      else if (draft.scales !== before.scales) this.draw()
    })
  }

  private async tokenize(): Promise<void> {
    const { content, model } = this.store.draft
    const asking = ++this.asked
    try {
      const { tokens, maxTokens } =
        content.trim() === ''
          ? { tokens: [], maxTokens: 77 }
          : await this.api.post<{ tokens: Token[]; maxTokens: number }>('v1/tokenize', {
              text: content,
              ...(model === undefined ? {} : { model }),
            })
      if (asking !== this.asked) return
      const inner = tokens.slice(1, -1)
      this.words = wordsOf(content, inner)
      this.keepScales()
      this.draw()
      const room = maxTokens - 2
      this.count.textContent =
        inner.length === 0
          ? ''
          : `${inner.length} of ${room} tokens. Drag a word, or use the arrow keys on it, to make it count more or less.`
      const { truncate } = this.store.draft.options
      if (inner.length > room && truncate !== true) {
        showError('content', `${inner.length - room} tokens too many: shorten it.`)
      }
    } catch (error) {
      if (asking !== this.asked) return
      if (error instanceof Problem) showError('content', error.message)
      else throw error
    }
  }

  /** Scales of words that are not there any more go. */
  private keepScales(): void {
    const { scales, content } = this.store.draft
    const text = content.toLowerCase()
    const kept = scales.filter((scale) => {
      const word = this.words.find((each) => isOf(scale, each))
      return word !== undefined || (isPhrase(scale) && text.includes(scale.text.toLowerCase()))
    })
    if (kept.length < scales.length) this.store.change({ scales: kept })
  }

  private draw(): void {
    const { scales } = this.store.draft
    const focused = [...this.list.children].indexOf(document.activeElement as Element)
    const phrases = scales.filter((scale) => !this.words.some((word) => isOf(scale, word)))
    this.list.replaceChildren(
      ...this.words.map((word) => this.chip(word, scales)),
      ...phrases.map((scale) => this.phrase(scale)),
    )
    if (focused >= 0) (this.list.children[focused] as HTMLElement | undefined)?.focus()
  }

  private chip(word: Word, scales: readonly Scale[]): HTMLElement {
    const value = scales.find((scale) => isOf(scale, word))?.scale ?? 1
    const isSign = !/[\p{L}\p{N}]/u.test(word.text)
    const chip = make(
      'span',
      {
        class: `word${value === 1 ? '' : ' set'}${isSign ? ' sign' : ''}`,
        role: 'slider',
        tabindex: 0,
        'aria-label': word.occurrences > 1 ? `${word.text}, number ${word.occurrence}` : word.text,
        'aria-valuemin': -most,
        'aria-valuemax': most,
        'aria-valuenow': value,
        'aria-valuetext': spoken(value),
        title: `Token ${word.tokens.map(({ index, id }) => `${index} (${id})`).join(', ')}`,
      },
      make('span', { class: 'tokens' }, ...word.tokens.map(({ text }) => make('span', {}, text))),
    )
    if (value !== 1) chip.append(make('span', { class: 'scale' }, `×${shown(value)}`))
    const bar = make('span', { class: 'level', 'aria-hidden': true })
    bar.style.setProperty('--from', `${placeOf(Math.min(1, value))}%`)
    bar.style.setProperty('--to', `${placeOf(Math.max(1, value))}%`)
    bar.classList.toggle('less', value < 1)
    chip.append(bar)
    chip.addEventListener('keydown', (event) => this.key(event, word, value))
    chip.addEventListener('dblclick', () => this.set(word, 1))
    chip.addEventListener('pointerdown', (event) => this.drag(event, chip, word, value))
    return chip
  }

  /** A scale of several words, as a recipe may have it. */
  private phrase(scale: Scale): HTMLElement {
    const button = make(
      'button',
      { type: 'button', class: 'small', title: 'Remove' },
      `“${scale.text}” ×${shown(scale.scale)} ✕`,
    )
    button.addEventListener('click', () => {
      const { scales } = this.store.draft
      this.store.change({ scales: scales.filter((each) => each !== scale) })
    })
    return button
  }

  private key(event: KeyboardEvent, word: Word, value: number): void {
    const next: Record<string, number> = {
      ...{ ArrowUp: value + 0.1, ArrowRight: value + 0.1, ArrowDown: value - 0.1 },
      ...{ ArrowLeft: value - 0.1, PageUp: value + 0.5, PageDown: value - 0.5 },
      ...{ Home: -most, End: most, Delete: 1, Backspace: 1, Escape: 1 },
    }
    const { [event.key]: wanted } = next
    if (wanted === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    this.set(word, wanted)
  }

  private drag(down: PointerEvent, chip: HTMLElement, word: Word, start: number): void {
    if (down.button !== 0) return
    chip.focus()
    // Chips are made anew while one is dragged, so the list looks after it.
    const { list } = this
    let moved = false
    const move = (event: PointerEvent) => {
      const way = event.clientX - down.clientX
      if (Math.abs(way) > 4 && !moved) {
        moved = true
        list.setPointerCapture(down.pointerId)
      }
      if (moved) this.set(word, start + way / pixelsPerUnit)
    }
    const end = new AbortController()
    const { signal } = end
    list.addEventListener('pointermove', move, { signal })
    for (const name of ['pointerup', 'pointercancel'] as const) {
      list.addEventListener(name, () => end.abort(), { signal })
      window.addEventListener(name, () => end.abort(), { signal })
    }
  }

  private set(word: Word, value: number): void {
    const scale = Math.round(Math.min(most, Math.max(-most, value)) * 10) / 10
    const others = this.store.draft.scales.filter((each) => !isOf(each, word))
    const { text, occurrence, occurrences } = word
    const scaled = { text, scale, ...(occurrences > 1 ? { occurrence } : {}) }
    this.store.change({ scales: scale === 1 ? others : [...others, scaled] })
    clearError('content')
  }
}

function isPhrase({ text, from, to }: Scale): boolean {
  return /\s/.test(text.trim()) || from !== undefined || to !== undefined
}

function isOf(scale: Scale, { text, occurrence, occurrences }: Word): boolean {
  if (isPhrase(scale) || scale.text.toLowerCase() !== text.toLowerCase()) return false
  return (scale.occurrence ?? (occurrences === 1 ? 1 : occurrence)) === occurrence
}

/**
 * Tokens do not say where words end, so they are found again in the text. A character may be spread over several, which
 * then show as U+FFFD: those go with the word before the next that is found.
 */
function wordsOf(text: string, tokens: readonly Token[]): Word[] {
  const lower = text.toLowerCase().normalize('NFC')
  const words: Omit<Word, 'occurrence' | 'occurrences'>[] = []
  let at = 0
  for (const token of tokens) {
    const found = token.text.includes('\ufffd') ? -1 : lower.indexOf(token.text, at)
    const between = found < 0 ? '' : lower.slice(at, found)
    const last = words.at(-1)
    const isNew =
      !last ||
      (found < 0 ? /^\s/.test(lower.slice(at)) : between.trim() !== between || between !== '')
    if (found >= 0) {
      at = found + token.text.length
    } else if (isNew) {
      at += /^\s*/.exec(lower.slice(at))?.[0].length ?? 0
    }
    if (last && !isNew && isSign(last.text) === isSign(token.text)) {
      last.tokens.push(token)
      last.text += token.text
    } else {
      words.push({ text: token.text, tokens: [token] })
    }
  }
  return words.map((word, i) => {
    const key = idsOf(word)
    const same = words.map(idsOf)
    return {
      ...word,
      occurrence: same.slice(0, i + 1).filter((each) => each === key).length,
      occurrences: same.filter((each) => each === key).length,
    }
  })
}

const idsOf = ({ tokens }: { tokens: Token[] }) => tokens.map(({ id }) => id).join(' ')
const isSign = (text: string) => !/[\p{L}\p{M}\p{N}'’\ufffd]/u.test(text)

/** Where a value is on the bar, in percent. */
const placeOf = (value: number) => ((value + most) / (2 * most)) * 100

const shown = (value: number) => String(value).replace('-', '−')

function spoken(value: number): string {
  if (value === 1) return '1, as it is'
  if (value < 0) return `${value}, removed`
  if (value === 0) return '0, not seen'
  return value > 1 ? `${value}, stronger` : `${value}, weaker`
}
