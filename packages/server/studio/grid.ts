/** A grid of tries by one or two options: its form, and its cells as they come. */
import { type Api, type Job, type JobEvent, Problem, type Schema } from './api.js'
import { byId, make } from './dom.js'
import { type Draft, type Store, formOf } from './draft.js'
import { clearError, clearErrors, showError } from './errors.js'
import { type JobRun, progressOf, runJob } from './job.js'
import { methodsIn } from './method.js'
import { kindOf, optionsOf, titleOf } from './options.js'

export interface Axis {
  option: string
  values: unknown[]
}

interface AxisFields {
  select: HTMLSelectElement
  input: HTMLInputElement
}

/** Values to begin with. */
const suggestions: Readonly<Record<string, string>> = {
  nu: '0.5, 0.7, 0.9',
  kMax: '0.5, 0.6, 0.7',
  kMin: '0.1, 0.2, 0.3',
  seed: '1, 2, 3',
  steps: '20, 50',
  guidanceScale: '3, 7.5, 12',
}
const numbers = ['nu', 'kMax', 'kMin']

/** A cell that people have chosen, and what it was made from. */
export type OnCell = (picture: Blob, draft: Draft) => Promise<void>

export class Grid {
  private readonly across: AxisFields
  private readonly down: AxisFields
  private readonly schemas: ReadonlyMap<string, Schema>

  constructor(
    private readonly api: Api,
    private readonly store: Store,
    schema: Schema,
    private readonly mostCells: number,
    private readonly onCell: OnCell,
  ) {
    const { properties = {} } = schema
    const names = [...numbers, 'content', 'method', ...optionsOf(schema).map(([name]) => name)]
    this.schemas = new Map(
      names.flatMap((name) => {
        const { [name]: option } = properties
        const isKnown = numbers.includes(name) || name === 'method'
        const fits = option && (isKnown || kindOf(option) !== 'json')
        return fits && kindOf(option) !== 'flag' ? [[name, option] as const] : []
      }),
    )
    this.across = this.axisFields('across', 'Across', 'nu')
    this.down = this.axisFields('down', 'Down', 'kMax')
    this.count()
  }

  /** All methods of mixing beside each other, if the server has several. */
  get methods(): readonly string[] {
    return methodsIn(this.schemas.get('method'))
  }

  chooseMethods(): void {
    this.choose(this.across, 'method')
    this.choose(this.down, '')
  }

  /** What its form has; undefined if that has no sense. */
  chosen(): readonly Axis[] | undefined {
    clearErrors()
    return this.axes()
  }

  /** What POST /v1/sweeps takes. */
  formOf(draft: Draft, axes: readonly Axis[]): FormData {
    const isOfMethods = axes.some(({ option }) => option === 'method')
    const vary = Object.fromEntries(axes.map(({ option, values }) => [option, values]))
    // Other methods refuse kMax, kMin and nu, so all of them have their usual ones.
    const unlike = isOfMethods ? { kMax: undefined, kMin: undefined, nu: undefined } : {}
    return formOf(draft, { ...unlike, previewEvery: 2, vary })
  }

  /** Shows its cells as they come. */
  run(
    { draft, axes }: { draft: Draft; axes: readonly Axis[] },
    begin: () => Promise<Job>,
    onEvent: (fraction: number, text: string) => void,
  ): JobRun {
    const cells = this.table(axes)
    let done = 0
    const all = cells.length
    return runJob(this.api, begin, (event, job) => {
      const { data } = event
      if (event.event === 'preview') {
        const { cell, mediaType, base64 } = data as Record<string, string>
        const image = cells[Number(cell)]?.querySelector('img')
        if (image) image.src = `data:${mediaType};base64,${base64}`
      } else if (event.event === 'cell') {
        done++
        onEvent(done / all, `${done} of ${all} cells`)
        const cell = cells[Number(data.index)]
        if (cell) void this.fill(cell, Number(data.index), job, draft)
      } else if (event.event === 'progress') {
        onEvent(...progressOfGrid(event, done, all))
      }
    })
  }

  /** After a sweep: its sheet. */
  async offerSheet({ links }: Job): Promise<void> {
    const sheet = await this.api.picture(links.sheet ?? '')
    byId('grid').append(
      make(
        'p',
        { class: 'row' },
        make(
          'a',
          { class: 'button', href: URL.createObjectURL(sheet), download: 'grid.png' },
          'Download the sheet',
        ),
      ),
    )
  }

  private async fill(cell: HTMLButtonElement, index: number, job: Job, draft: Draft) {
    const picture = await this.api.picture(`${job.links.self}/cells/${index}/picture`)
    const image = cell.querySelector('img')
    if (image) image.src = URL.createObjectURL(picture)
    cell.disabled = false
    cell.classList.add('there')
    cell.addEventListener('click', () => void this.onCell(picture, draft))
  }

  private table(axes: readonly Axis[]): HTMLButtonElement[] {
    const [across, down] = axes
    const cells: HTMLButtonElement[] = []
    const label = ({ option }: Axis, value: unknown) =>
      numbers.includes(option) || typeof value === 'number'
        ? `${option} ${String(value)}`
        : String(value)
    const rowOf = (value: unknown) => {
      const row = make('tr')
      if (down) row.append(make('th', { scope: 'row' }, label(down, value)))
      for (const each of across?.values ?? []) {
        const name = [across && label(across, each), down && label(down, value)]
        const text = `Go on from ${name.filter(Boolean).join(', ')}`
        const cell = make('button', { type: 'button', disabled: true, 'aria-label': text })
        cell.append(make('img', { alt: '' }))
        cells.push(cell)
        row.append(make('td', {}, cell))
      }
      return row
    }
    const head = make(
      'tr',
      {},
      ...(down ? [make('td')] : []),
      ...(across?.values ?? []).map((value) => make('th', { scope: 'col' }, label(across!, value))),
    )
    const table = make('table', {}, make('thead', {}, head))
    table.style.setProperty('--columns', String(across?.values.length ?? 1))
    table.append(make('tbody', {}, ...(down?.values ?? [undefined]).map(rowOf)))
    const scroller = make('div', {
      ...{ class: 'scroller', role: 'region', tabindex: 0, 'aria-label': 'The grid of tries' },
    })
    scroller.append(table)
    const place = byId('grid')
    for (const image of place.querySelectorAll('img')) URL.revokeObjectURL(image.src)
    place.replaceChildren(scroller)
    return cells
  }

  private axisFields(id: string, title: string, option: string): AxisFields {
    const select = make('select', { id: `${id}-option` })
    if (id === 'down') select.append(make('option', { value: '' }, 'nothing'))
    for (const name of this.schemas.keys()) {
      select.append(make('option', { value: name }, titleOf(name)))
    }
    const input = make('input', {
      ...{ id: `${id}-values`, type: 'text', autocomplete: 'off' },
      'aria-label': `${title}: values`,
    })
    byId(`axis-${id}`).append(make('label', { for: select.id }, title), select, input)
    const fields = { select, input }
    select.addEventListener('change', () => this.choose(fields, select.value))
    input.addEventListener('input', () => {
      clearError('vary')
      this.count()
    })
    this.choose(fields, option)
    return fields
  }

  private choose({ select, input }: AxisFields, option: string): void {
    select.value = option
    input.hidden = option === ''
    input.value = this.suggestionFor(option)
    clearError('vary')
    if (this.across && this.down) this.count()
  }

  private suggestionFor(option: string): string {
    const { [option]: known } = suggestions
    if (known !== undefined) return known
    const { content } = this.store.draft
    if (option === 'content') return `${content || 'a photo of a lemon'} | a photo of a donut`
    const schema = this.schemas.get(option)
    if (!schema) return ''
    if (option === 'method') return this.methods.join(', ')
    if (schema.enum) return schema.enum.join(', ')
    const { default: byDefault, minimum = 0, maximum = 1 } = schema
    if (typeof byDefault === 'string') return byDefault
    return maximum <= 1 ? `${minimum}, ${(minimum + maximum) / 2}, ${maximum}` : ''
  }

  private count(): void {
    const cells = this.given().reduce((product, { values }) => product * values.length, 1)
    byId('grid-size').textContent =
      `${cells} ${cells === 1 ? 'mix' : 'mixes'}. Values have commas between them, texts a |.`
    if (this.given().some(({ option }) => option === 'method')) {
      byId('grid-size').textContent +=
        ' Methods are compared with the usual kMax, kMin and nu, and take a prompt for the layout.'
    }
    byId('make-grid').textContent = `Mix the grid (${cells})`
  }

  private given(): Axis[] {
    return [this.across, this.down].flatMap(({ select, input }) =>
      select.value === ''
        ? []
        : [{ option: select.value, values: this.valuesOf(select.value, input) }],
    )
  }

  private valuesOf(option: string, { value }: HTMLInputElement): unknown[] {
    const schema = this.schemas.get(option)
    const isText = option === 'content' || (schema && kindOf(schema) === 'text')
    const parts = value
      .split(isText ? '|' : /[,;\s]+/)
      .map((part) => part.trim())
      .filter((part) => part !== '')
    if (isText || schema?.enum || option === 'method') return parts
    return parts.map(Number)
  }

  private axes(): Axis[] | undefined {
    const axes = this.given()
    const [first, second] = axes
    const cells = axes.reduce((product, { values }) => product * values.length, 1)
    const wrong = axes.find(({ values }) => values.some((value) => Number.isNaN(value)))
    if (first && first.option === second?.option) {
      showError('vary', 'Across and down have the same option: choose another for one of them.')
    } else if (wrong) {
      showError('vary', `The values of ${wrong.option} are numbers with commas between them.`)
    } else if (cells === 0) {
      showError('vary', 'Write at least one value for each option.')
    } else if (cells > this.mostCells) {
      showError('vary', `These are ${cells} mixes; the server takes at most ${this.mostCells}.`)
    } else return axes
    return undefined
  }
}

function progressOfGrid(event: JobEvent, done: number, all: number): [number, string] {
  const { fraction, text } = progressOf(event, 0)
  const inCell = event.data.stage === 'queued' ? text : `${done} of ${all} cells. ${text}`
  return [(done + fraction) / all, inCell]
}

/** A sweep that was refused names options as `vary.nu[0]`: those are the grid's. */
export function isOfGrid(error: unknown): boolean {
  if (!(error instanceof Problem)) return false
  const { name } = error.details
  return 'cell' in error.details || (typeof name === 'string' && name.startsWith('vary'))
}
