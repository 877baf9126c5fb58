/** The method of mixing with its numbers, where the server has several. */
import type { Schema } from './api.js'
import { byId, make } from './dom.js'
import type { Draft, Store } from './draft.js'
import { clearError } from './errors.js'
import { titleOf } from './options.js'

type Method = string | ({ name: string } & Record<string, unknown>)

/** MagicMix is the only one that has kMax, kMin and nu. */
const usualMethod = 'magicmix'

function methodOf({ options }: Pick<Draft, 'options'>): string {
  const { method } = options as { method?: Method }
  return typeof method === 'object' ? method.name : (method ?? usualMethod)
}

/** Their names, from the schema of the option. */
export function methodsIn(schema: Schema | undefined): readonly string[] {
  const names = schema?.enum ?? schema?.anyOf?.find((form) => form.enum)?.enum ?? []
  return names.map(String)
}

export class Methods {
  private readonly select = byId<HTMLSelectElement>('method')
  private readonly numbers = byId('method-numbers')
  private shown = ''

  constructor(
    private readonly store: Store,
    private readonly schema: Schema | undefined,
  ) {
    const names = methodsIn(schema)
    byId('method-field').hidden = names.length < 2
    if (names.length < 2) return
    this.select.append(...names.map((value) => make('option', { value }, titleOf(value))))
    this.select.addEventListener('change', () => {
      const { value } = this.select
      clearError('method')
      store.setOption('method', value === usualMethod ? undefined : value)
    })
    store.listen((draft) => this.show(draft))
  }

  private show(draft: Draft): void {
    const name = methodOf(draft)
    const isUsual = name === usualMethod
    this.select.value = name
    byId('schedule-body').hidden = !isUsual
    byId('method-note').hidden = isUsual
    if (name !== this.shown) this.makeNumbers(name)
    this.shown = name
    const { method } = draft.options as { method?: Method }
    const values = typeof method === 'object' ? method : ({} as Record<string, unknown>)
    for (const input of this.numbers.querySelectorAll('input')) {
      if (input === document.activeElement) continue
      const value = values[input.name]
      input.value = typeof value === 'number' ? String(value) : ''
    }
  }

  private makeNumbers(name: string): void {
    const forms = this.schema?.anyOf ?? []
    const { properties = {} } = forms.find((form) => form.properties?.name?.const === name) ?? {}
    const rows = Object.entries(properties)
      .filter(([key]) => key !== 'name')
      .map(([key, { minimum, maximum, type, description = '', default: byDefault }]) => {
        const input = make('input', {
          ...{ id: `method-${key}`, name: key, type: 'number', min: minimum, max: maximum },
          step: type === 'integer' ? 1 : 'any',
          placeholder: String(byDefault as number),
        })
        input.addEventListener('input', () => this.set(name, key, input.value))
        const label = make('label', { for: input.id }, titleOf(key))
        return make(
          'div',
          { class: 'option' },
          label,
          input,
          make('p', { class: 'hint' }, description),
        )
      })
    this.numbers.replaceChildren(...rows)
  }

  private set(name: string, key: string, text: string): void {
    const { method } = this.store.draft.options as { method?: Method }
    const { [key]: _, ...others } = typeof method === 'object' ? method : { name }
    clearError('method')
    this.store.setOption('method', {
      ...others,
      name,
      ...(text === '' ? {} : { [key]: Number(text) }),
    })
  }
}
