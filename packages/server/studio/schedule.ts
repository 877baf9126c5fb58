/** kMax, kMin and nu: sliders, and a drawing of the steps that shows what they do and can be dragged. */
import type { Schema } from './api.js'
import { byId, makeSvg } from './dom.js'
import { type Draft, type Nu, type Store, stepsOf } from './draft.js'
import { clearError } from './errors.js'
import { inWords, stepsOfMix } from './schedule-steps.js'

const height = 150
const top = 22
const bottom = 118
/** A handle is taken this near. */
const reach = 16

type Handle = 'kMax' | 'kMin' | 'nu'

export class Schedule {
  private readonly svg = byId<SVGSVGElement>('schedule')
  private readonly sliders = {
    kMax: byId<HTMLInputElement>('k-max'),
    kMin: byId<HTMLInputElement>('k-min'),
    nu: byId<HTMLInputElement>('nu'),
    end: byId<HTMLInputElement>('nu-end'),
  }
  private readonly changes = byId<HTMLInputElement>('nu-changes')
  private width = 0

  /** @param nu the schema of nu, which may be a number alone */
  constructor(
    private readonly store: Store,
    nu: Schema | undefined,
  ) {
    const { kMax, kMin, nu: slider, end } = this.sliders
    kMax.addEventListener('input', () => this.set('kMax', kMax.valueAsNumber))
    kMin.addEventListener('input', () => this.set('kMin', kMin.valueAsNumber))
    slider.addEventListener('input', () => this.set('nu', slider.valueAsNumber))
    end.addEventListener('input', () => {
      this.store.change({ nu: { ...ends(this.store.draft.nu), to: end.valueAsNumber } })
      clearError('nu')
    })
    byId('nu-changes-field').hidden = !nu?.properties
    this.changes.addEventListener('change', () => {
      const { from, to } = ends(this.store.draft.nu)
      this.store.change({ nu: this.changes.checked ? { from, to } : from })
    })
    this.svg.addEventListener('pointerdown', (event) => this.drag(event))
    this.svg.addEventListener('pointermove', (event) => {
      const handle = this.handleAt(event)
      this.svg.style.cursor =
        handle === undefined ? '' : handle === 'nu' ? 'ns-resize' : 'ew-resize'
    })
    store.listen((draft) => this.show(draft))
    new ResizeObserver(([entry]) => {
      this.width = Math.round(entry?.contentRect.width ?? 0)
      this.draw(this.store.draft)
    }).observe(this.svg)
  }

  private set(handle: Handle, value: number): void {
    const rounded = Math.round(Math.min(1, Math.max(0, value)) * 100) / 100
    const { kMax, kMin, nu } = this.store.draft
    clearError(handle)
    if (handle === 'kMax') {
      this.store.change({ kMax: rounded, kMin: Math.min(kMin, rounded) })
    } else if (handle === 'kMin') {
      this.store.change({ kMin: rounded, kMax: Math.max(kMax, rounded) })
    } else {
      const isFixed = typeof nu === 'number' || Array.isArray(nu)
      this.store.change({ nu: isFixed ? rounded : { ...nu, from: rounded } })
    }
  }

  private show(draft: Draft): void {
    const { kMax, kMin, nu } = draft
    const { from, to } = ends(nu)
    const isFixed = typeof nu === 'number' || Array.isArray(nu)
    const values = { kMax, kMin, nu: from, end: to }
    for (const [name, slider] of Object.entries(this.sliders)) {
      const value = values[name as keyof typeof values]
      if (slider.valueAsNumber !== value) slider.value = String(value)
      byId(`${slider.id}-value`).textContent = value.toFixed(2)
    }
    if (Array.isArray(nu)) byId('nu-value').textContent = `${nu.length} values`
    this.changes.checked = !isFixed
    byId('nu-end-field').hidden = isFixed
    this.draw(draft)
  }

  private draw(draft: Draft): void {
    const { kMax, kMin, nu } = draft
    const steps = stepsOf(draft)
    const all = stepsOfMix(kMax, kMin, nu, steps)
    const isPrompt = draft.kind === 'prompt'
    byId('schedule-text').textContent = inWords(all, isPrompt)
    const { width } = this
    if (width === 0) return
    const x = (k: number) => (1 - k) * width
    const y = (share: number) => bottom - share * (bottom - top)
    const each = width / steps
    const gap = each > 4 ? 1 : 0
    const bars = (of: (share: number, i: number) => [number, number] | undefined) =>
      all.shares
        .flatMap((share, i) => {
          const [a, b] = of(share, i) ?? []
          if (a === undefined || b === undefined || a === b) return []
          return [`M${i * each} ${y(a)}V${y(b)}h${each - gap}V${y(a)}z`]
        })
        .join('')
    const isSkipped = (i: number) => i < all.before && !isPrompt
    const middle = (x(kMax) + x(kMin)) / 2
    const first = ends(nu).from
    const last = ends(nu).to
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`)
    this.svg.replaceChildren(
      makeSvg('path', {
        class: 'of-layout',
        d: bars((share, i) => (isSkipped(i) ? undefined : [share, 1])),
      }),
      makeSvg('path', {
        class: 'of-layout skipped',
        d: bars((_, i) => (isSkipped(i) ? [0, 1] : undefined)),
      }),
      makeSvg('path', { class: 'of-content', d: bars((share) => [0, share]) }),
      makeSvg('path', {
        class: 'line nu',
        d: `M${x(kMax)} ${y(first)}L${x(kMin)} ${y(Array.isArray(nu) ? first : last)}`,
      }),
      ...(['kMax', 'kMin'] as const).flatMap((name) => [
        makeSvg('path', { class: 'line', d: `M${x(draft[name])} ${top - 4}V${bottom + 4}` }),
        makeSvg('circle', { class: 'knob', cx: x(draft[name]), cy: bottom + 4, r: 5 }),
      ]),
      makeSvg('circle', { class: 'knob', cx: middle, cy: y((first + last) / 2), r: 5 }),
      ...this.zones(x(kMax), x(kMin)),
      ...this.names(x(kMax), x(kMin)),
      makeSvg('text', { x: 0, y: height - 4, class: 'end' }, 'noise'),
      makeSvg('text', { x: width, y: height - 4, class: 'end', 'text-anchor': 'end' }, 'picture'),
    )
  }

  /** What is at work, above each part where there is room for it. */
  private zones(begin: number, end: number): SVGElement[] {
    const zones: [string, number, number][] = [
      ['layout', 0, begin],
      ['mixed', begin, end],
      ['content', end, this.width],
    ]
    return zones
      .filter(([text, from, to]) => to - from > text.length * 8)
      .map(([text, from, to]) =>
        makeSvg('text', { x: (from + to) / 2, y: 12, 'text-anchor': 'middle' }, text),
      )
  }

  private names(begin: number, end: number): SVGElement[] {
    const near = 40
    const inside = (at: number) => Math.min(this.width - 62, Math.max(60, at))
    const names: [string, number][] = [
      ['kMax', inside(begin)],
      ['kMin', inside(end)],
    ]
    const isTight = Math.abs(names[1]![1] - names[0]![1]) < near
    return names.map(([text, at], i) =>
      makeSvg(
        'text',
        {
          class: 'name',
          x: isTight ? at + (i === 0 ? -4 : 4) : at,
          y: height - 4,
          'text-anchor': isTight ? (i === 0 ? 'end' : 'start') : 'middle',
        },
        text,
      ),
    )
  }

  private handleAt({ clientX, clientY }: PointerEvent): Handle | undefined {
    const { left, top: above } = this.svg.getBoundingClientRect()
    const at = clientX - left
    const { kMax, kMin } = this.store.draft
    const distances = (['kMax', 'kMin'] as const).map((name) => ({
      name,
      distance: Math.abs((1 - this.store.draft[name]) * this.width - at),
    }))
    // Where both lie together, the side says which is meant.
    distances.sort((a, b) => a.distance - b.distance)
    const [nearest] = distances
    if (nearest && nearest.distance <= reach) {
      if (kMax === kMin) return at < (1 - kMax) * this.width ? 'kMax' : 'kMin'
      return nearest.name
    }
    const k = 1 - at / this.width
    const isIn = clientY - above >= top - 8 && clientY - above <= bottom + 8
    return k < kMax && k > kMin && isIn ? 'nu' : undefined
  }

  private drag(down: PointerEvent): void {
    const handle = this.handleAt(down)
    if (handle === undefined || down.button !== 0) return
    down.preventDefault()
    this.svg.setPointerCapture(down.pointerId)
    const move = ({ clientX, clientY }: PointerEvent) => {
      const { left, top: above } = this.svg.getBoundingClientRect()
      if (handle === 'nu') this.set('nu', (bottom - (clientY - above)) / (bottom - top))
      else this.set(handle, 1 - (clientX - left) / this.width)
    }
    const end = new AbortController()
    this.svg.addEventListener('pointermove', move, { signal: end.signal })
    for (const name of ['pointerup', 'pointercancel'] as const) {
      this.svg.addEventListener(name, () => end.abort(), { signal: end.signal })
    }
    if (handle === 'nu') move(down)
  }
}

function ends(nu: Nu): { from: number; to: number } {
  if (typeof nu === 'number') return { from: nu, to: nu }
  if (Array.isArray(nu)) return { from: nu[0] ?? 0.9, to: nu.at(-1) ?? 0.9 }
  return nu
}
