/** Fields for all options that have no place of their own, made from the schema of requests. */
import type { Schema } from './api.js'
import { byId, make } from './dom.js'
import { type Store, withPlace } from './draft.js'
import { clearError, showError } from './errors.js'

/** These come first. */
const first = ['steps', 'seed', 'sampler', 'guidanceScale', 'negativePrompt', 'fast']

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement

export class Options {
  private readonly fields = new Map<string, { field: Field; schema: Schema }>()

  constructor(
    private readonly store: Store,
    schema: Schema,
    private readonly loras: readonly string[],
  ) {
    for (const [name, option] of inOrder(optionsOf(schema))) {
      if (name === 'loras' && loras.length === 0) continue
      const isJson = kindOf(option) === 'json'
      byId(isJson ? 'json-options' : 'options').append(this.row(name, option))
    }
    byId('json-more').hidden = byId('json-options').childElementCount === 0
    store.listen(({ options }) => {
      for (const [name, { field, schema: each }] of this.fields) {
        if (field !== document.activeElement) write(field, options[name], each)
      }
    })
  }

  private row(name: string, schema: Schema): HTMLElement {
    const id = `option-${name}`
    const field = fieldFor(schema, id)
    this.fields.set(name, { field, schema })
    field.setAttribute('aria-describedby', `${id}-help`)
    const more = name === 'loras' ? `; there are ${this.loras.join(', ')}` : ''
    const help = make(
      'p',
      { class: 'hint', id: `${id}-help` },
      `${plain(schema.description)}${more}`,
    )
    const label = make('label', { for: id }, titleOf(name))
    const kind = kindOf(schema)
    const row = make(
      'div',
      { class: `option ${kind}`, 'data-option': name },
      ...(kind === 'flag' ? [field, label] : [label, field]),
      help,
      make('p', { class: 'error', hidden: true }),
    )
    field.addEventListener(kind === 'json' ? 'change' : 'input', () => {
      clearError(name)
      try {
        this.store.setOption(name, read(field, schema))
      } catch {
        showError(name, 'This is no JSON. Names and texts are written in double quotes.')
      }
    })
    return row
  }
}

/** Without the marks of Markdown. */
const plain = (text = '') => text.replaceAll('`', '')

/** Those that people may change here. */
export function optionsOf({ properties = {} }: Schema): [string, Schema][] {
  return Object.entries(properties).filter(
    ([name, { deprecated }]) => !withPlace.has(name) && deprecated !== true,
  )
}

function inOrder(options: [string, Schema][]): [string, Schema][] {
  const rank = (name: string) => (first.indexOf(name) + 1 || first.length + 1) - 1
  return options.sort(([a], [b]) => rank(a) - rank(b))
}

/** `guidanceScale` -> `Guidance scale` */
export function titleOf(name: string): string {
  if (/^(kM|nu)/.test(name)) return name
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return words.charAt(0).toUpperCase() + words.slice(1)
}

type Kind = 'number' | 'choice' | 'flag' | 'text' | 'json'

export function kindOf({ type, enum: choices }: Schema): Kind {
  if (choices) return 'choice'
  if (type === 'number' || type === 'integer') return 'number'
  if (type === 'boolean') return 'flag'
  return type === 'string' ? 'text' : 'json'
}

function fieldFor(schema: Schema, id: string): Field {
  const byDefault = schema.default === undefined ? undefined : textOf(schema.default)
  switch (kindOf(schema)) {
    case 'choice':
      return make(
        'select',
        { id },
        make(
          'option',
          { value: '' },
          byDefault === undefined ? 'as usual' : `${byDefault} (usual)`,
        ),
        ...(schema.enum ?? [])
          .map(String)
          .filter((value) => value !== byDefault)
          .map((value) => make('option', { value }, value)),
      )
    case 'number':
      return make('input', {
        ...{ id, type: 'number', min: schema.minimum, max: schema.maximum },
        step: schema.multipleOf ?? (schema.type === 'integer' ? 1 : 'any'),
        placeholder: byDefault ?? 'as usual',
      })
    case 'flag':
      return make('input', { id, type: 'checkbox' })
    case 'text':
      return make('input', { id, type: 'text', placeholder: byDefault, autocomplete: 'off' })
    case 'json':
      return make('textarea', { id, rows: 2, placeholder: 'none', spellcheck: 'false' })
  }
}

/** What a field says; undefined where it says nothing. */
function read(field: Field, schema: Schema): unknown {
  if (field instanceof HTMLInputElement && field.type === 'checkbox') {
    return field.checked === (schema.default === true) ? undefined : field.checked
  }
  const text = field.value.trim()
  if (text === '') return undefined
  switch (kindOf(schema)) {
    case 'number':
      return Number(text)
    case 'choice':
      return schema.enum?.find((value) => String(value) === text)
    case 'json':
      return JSON.parse(text) as unknown
    default:
      return field.value
  }
}

function write(field: Field, value: unknown, schema: Schema): void {
  if (field instanceof HTMLInputElement && field.type === 'checkbox') {
    field.checked = (value ?? schema.default) === true
    return
  }
  const isJson = kindOf(schema) === 'json'
  field.value =
    value === undefined || (kindOf(schema) === 'choice' && value === schema.default)
      ? ''
      : isJson
        ? JSON.stringify(value)
        : textOf(value)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
