/** What is to be mixed, as the page has it: from people's hands to a request, and from a recipe back. */
import type { Schema } from './api.js'

/** A picture that people gave. */
export interface Picture {
  blob: Blob
  name: string
  /** As the server's recipes have it, once one was seen. */
  sha256?: string | undefined
}

/** A weight of a phrase. */
export interface Scale {
  text: string
  scale: number
  occurrence?: number
  from?: number
  to?: number
}

export type Nu = number | { from: number; to: number; curve?: string } | number[]

export interface Draft {
  model: string | undefined
  kind: 'picture' | 'prompt'
  picture: Picture | null
  prompt: string
  content: string
  scales: readonly Scale[]
  kMax: number
  kMin: number
  nu: Nu
  map: Blob | null
  /** All other options, as far as they are not left to their defaults. */
  options: Readonly<Record<string, unknown>>
}

const emptyDraft: Draft = {
  model: undefined,
  kind: 'picture',
  picture: null,
  prompt: '',
  content: '',
  scales: [],
  ...{ kMax: 0.6, kMin: 0.3, nu: 0.9 },
  map: null,
  options: {},
}

/** Options that have a place of their own on the page, or none. */
export const withPlace: ReadonlySet<string> = new Set([
  ...['model', 'layout', 'layouts', 'content', 'attention', 'kMin', 'kMax', 'nu', 'nuMap'],
  ...['kMaxMap', 'method', 'previewEvery', 'preview', 'vary'],
])

type Listener = (draft: Draft, before: Draft) => void

/** The draft and those who look at it. */
export class Store {
  private current = emptyDraft
  private readonly listeners: Listener[] = []

  get draft(): Draft {
    return this.current
  }

  change(changes: Partial<Draft>): void {
    const before = this.current
    this.current = { ...before, ...changes }
    for (const listener of this.listeners) listener(this.current, before)
  }

  /** An option; undefined leaves it to its default. */
  setOption(name: string, value: unknown): void {
    const { [name]: _, ...others } = this.draft.options
    this.change({ options: value === undefined ? others : { ...others, [name]: value } })
  }

  listen(listener: Listener): void {
    this.listeners.push(listener)
    listener(this.current, this.current)
  }
}

/** Steps as the server counts them where none are given. */
export function stepsOf({ options }: Draft): number {
  const { steps, sampler } = options
  if (typeof steps === 'number') return Math.min(999, Math.max(1, Math.round(steps)))
  return sampler === 'lcm' || sampler === 'tcd' ? 8 : 50
}

/** What POST /v1/mixes takes. */
export function formOf(draft: Draft, more: Readonly<Record<string, unknown>>): FormData {
  const { model, kind, picture, prompt, content, scales, kMax, kMin, nu, map, options } = draft
  const form = new FormData()
  const request = {
    ...options,
    ...(model === undefined ? {} : { model }),
    ...(kind === 'prompt' ? { layout: { prompt } } : {}),
    content,
    ...(scales.length > 0 ? { attention: scales } : {}),
    ...(options.method === undefined ? { kMax, kMin, nu } : {}),
    ...more,
  }
  form.set('request', JSON.stringify(request))
  if (kind === 'picture' && picture) form.set('layout', picture.blob, 'layout')
  if (map) form.set('nuMap', map, 'map.png')
  return form
}

/** Of /v1/recipes. */
export interface Recipe {
  request: Record<string, unknown>
  layout: Record<string, unknown> | null
  pictures?: Record<string, unknown>
  model: { name: string; hashes?: unknown } & Record<string, unknown>
  made: Record<string, unknown>
}

/** Pictures that a recipe only names, from where the page has them. */
export interface Found {
  picture: Picture | null
  map: Blob | null
}

/** What a server has. */
export interface Offered {
  /** Of requests. */
  schema: Schema
  models: readonly ModelHere[]
  /** Names of LoRAs. */
  loras: readonly string[]
}

export interface ModelHere {
  id: string
  isDefault: boolean
  /** Once it was loaded. */
  info: { hashes?: unknown; tinyDecoder?: unknown } | null
}

/**
 * The draft that makes a recipe again, and in words what could not be taken over.
 */
export function draftOf(
  { request, model }: Recipe,
  found: Found,
  { schema, models, loras }: Offered,
): { draft: Draft; left: string[] } {
  const left: string[] = []
  const { layout, content, attention, kMax, kMin, nu, nuMap, layouts, kMaxMap, ...rest } = request
  const { prompt, path } = Object(layout) as { prompt?: unknown; path?: unknown }
  const isPrompt = typeof prompt === 'string'
  if (!isPrompt && !found.picture) {
    const name = typeof path === 'string' ? `, ${path},` : ''
    left.push(`The layout’s picture${name} is not in the recipe: give it yourself.`)
  }
  if (layouts) left.push('It was made of several layouts, which the studio does not take.')
  if (nuMap && !found.map) left.push('Its map of nu is not in the recipe: mixing is even again.')
  if (kMaxMap) left.push('Its map of kMax is not in the recipe, and was left out.')
  const here = modelHere(model, models)
  if (!here) {
    left.push(`It was made with the model ${model.name}, which is not here.`)
  }
  const options: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(rest)) {
    const option = schema.properties?.[name]
    if ((withPlace.has(name) && name !== 'method') || isDefault(option, value)) continue
    if (option) options[name] = value
    else if (name !== 'trace') left.push(`${name} is not offered here, and was left out.`)
  }
  if (Array.isArray(options.loras)) {
    const named = (options.loras as { file: string }[]).map((lora) => nameHere(lora, loras))
    for (const lora of options.loras as { file: string }[]) {
      if (!nameHere(lora, loras)) left.push(`The LoRA ${lora.file} is not here.`)
    }
    options.loras = named.filter((lora) => lora !== undefined)
    if ((options.loras as unknown[]).length === 0) delete options.loras
  }
  const draft: Draft = {
    ...emptyDraft,
    model: here?.id,
    kind: isPrompt ? 'prompt' : 'picture',
    picture: isPrompt ? null : found.picture,
    prompt: isPrompt ? prompt : '',
    content: typeof content === 'string' ? content : '',
    scales: scalesOf(attention),
    kMax: typeof kMax === 'number' ? kMax : emptyDraft.kMax,
    kMin: typeof kMin === 'number' ? kMin : emptyDraft.kMin,
    nu: (nu as Nu | undefined) ?? emptyDraft.nu,
    map: nuMap ? found.map : null,
    options,
  }
  return { draft, left }
}

/** The server may call a model by another name: its weights tell. */
function modelHere(
  { name, hashes }: Recipe['model'],
  models: readonly ModelHere[],
): ModelHere | undefined {
  const wanted = JSON.stringify(hashes)
  const isSame = ({ info }: ModelHere) => info !== null && JSON.stringify(info.hashes) === wanted
  return models.find(isSame) ?? models.find(({ id, info }) => id === name && !info?.hashes)
}

/** Whether leaving it out says the same. */
function isDefault(option: Schema | undefined, value: unknown): boolean {
  if (value === undefined || value === null) return true
  if (Array.isArray(value) && value.length === 0) return true
  return option !== undefined && option.default === value
}

/** Recipes name the files of LoRAs, the server gives them names. */
function nameHere<T extends { file: string }>(lora: T, loras: readonly string[]): T | undefined {
  const bare = lora.file.replace(/\.[^.]+$/, '')
  const name = [lora.file, bare].find((each) => loras.includes(each))
  return name === undefined ? undefined : { ...lora, file: name }
}

/** Without what they would be anyway. */
function scalesOf(attention: unknown): Scale[] {
  if (!Array.isArray(attention)) {
    const pairs = Object.entries(Object(attention) as Record<string, number>)
    return pairs.map(([text, scale]) => ({ text, scale }))
  }
  return (attention as Scale[]).map(({ from, to, ...scale }) => ({
    ...scale,
    ...(from === undefined || from === 0 ? {} : { from }),
    ...(to === undefined || to === 1 ? {} : { to }),
  }))
}
