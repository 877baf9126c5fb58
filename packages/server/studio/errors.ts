/** Errors in words, next to what they concern. */
import { Problem } from './api.js'
import { byId } from './dom.js'

/** The place of an option on the page, if it has one. */
function placeOf(option: string): Element | null {
  return document.querySelector(`[data-option="${CSS.escape(option)}"]`)
}

/** Shows `message` at an option, else beside the button. */
export function showError(option: string | undefined, message: string): void {
  const place = option === undefined ? null : placeOf(option)
  const line = place?.querySelector<HTMLElement>(':scope > .error, :scope > .inner > .error')
  if (!place || !line) {
    fill(byId('form-error'), option === undefined ? message : `${option}: ${message}`)
    return
  }
  for (let outer = place.closest('details'); outer; outer = outerOf(outer)) outer.open = true
  fill(line, message)
  const id = (line.id ||= `error-${option}`)
  const field = fieldOf(place)
  field?.setAttribute('aria-invalid', 'true')
  describeBy(field, (ids) => new Set([...ids, id]))
}

export function clearError(option: string): void {
  const place = placeOf(option)
  for (const line of place?.querySelectorAll<HTMLElement>('.error') ?? []) empty(line)
  for (const field of place?.querySelectorAll('[aria-invalid]') ?? []) unmark(field)
}

export function clearErrors(): void {
  for (const line of document.querySelectorAll<HTMLElement>('#form .error')) empty(line)
  for (const field of document.querySelectorAll('#form [aria-invalid]')) unmark(field)
}

/** Shows what the server has against a request, where that is, and goes there. */
export function showProblem(error: unknown): void {
  const { message, option } = describe(error)
  showError(option, message)
  const place = option === undefined ? null : placeOf(option)
  const field = place && fieldOf(place)
  if (field instanceof HTMLElement) field.focus()
  const line = document.querySelector('#form .error:not([hidden])')
  line?.scrollIntoView({ block: 'nearest' })
}

/** As errors about the length of a prompt call it, and the option that it is. */
const prompts = [
  ['the content prompt', 'content'],
  ['the layout prompt', 'layout'],
  ['the negative prompt', 'negativePrompt'],
  ['the prompt to interpolate with', 'interpolate'],
] as const

export function describe(error: unknown): { message: string; option: string | undefined } {
  if (!(error instanceof Problem)) {
    return { message: `Something of the page went wrong: ${String(error)}`, option: undefined }
  }
  const { name, option, picture } = error.details
  if (error.code.startsWith('PHRASE_')) return { message: error.message, option: 'content' }
  const named = [name, option, picture].find((each) => typeof each === 'string')
  // 'nu.from', 'vary.nu[1]'
  const top = typeof named === 'string' ? named.split(/[.[]/)[0] : undefined
  const prompt = prompts.find(([words]) => words === named)
  if (prompt) return { message: error.message, option: prompt[1] }
  if (top === 'attention') return { message: error.message, option: 'content' }
  if (top === 'nuMap' || top === 'layouts') return { message: error.message, option: 'layout' }
  return { message: error.message, option: top !== undefined && placeOf(top) ? top : undefined }
}

function fieldOf(place: Element): Element | null {
  return place.querySelector('input:not([type=radio], [hidden]), select, textarea')
}

function fill(line: HTMLElement, message: string): void {
  line.textContent = message
  line.hidden = false
}

function empty(line: HTMLElement): void {
  line.textContent = ''
  line.hidden = true
}

function unmark(field: Element): void {
  field.removeAttribute('aria-invalid')
  describeBy(field, (ids) => ids.filter((id) => !id.startsWith('error-')))
}

function describeBy(field: Element | null, change: (ids: string[]) => Iterable<string>): void {
  const ids = (field?.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean)
  const changed = [...change(ids)].join(' ')
  if (changed === '') field?.removeAttribute('aria-describedby')
  else field?.setAttribute('aria-describedby', changed)
}

function outerOf(details: HTMLDetailsElement): HTMLDetailsElement | null {
  return details.parentElement?.closest('details') ?? null
}
