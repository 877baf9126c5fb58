/** Working on an order with the models of this process. */
import type { JobKind, Order, Report, Work } from '../jobs/jobs.js'
import type { Models } from '../models/models.js'
import { workOnMix } from './mix.js'
import { workOnSweep } from './sweep.js'

/**
 * LoRAs that clients may name, and their files.
 *
 * @example
 * <!-- snippet: types, needs a LoRA -->
 * ```ts
 * import { type NamedLoras, createServer } from 'magicmix-server'
 *
 * const loras: NamedLoras = { watercolour: '/models/watercolour.safetensors' }
 * const server = await createServer({ loras }) // a request says: "loras": [{ "file": "watercolour" }]
 * ```
 */
export type NamedLoras = Readonly<Record<string, string>>

const workers: Readonly<Record<JobKind, typeof workOnMix>> = { mix: workOnMix, sweep: workOnSweep }

export function workWith(models: Models, loras: NamedLoras): Work {
  return async (order: Order, report: Report, signal: AbortSignal) => {
    const request = withFiles(order.request, loras)
    await models.use(order.model, signal, (mixer) =>
      workers[order.kind](mixer, request, report, signal),
    )
  }
}

/** The request with the files of its LoRAs in the place of their names. */
export function withFiles(
  request: Record<string, unknown>,
  loras: NamedLoras,
): Record<string, unknown> {
  const { loras: asked, vary } = request
  const withLoras = { ...request }
  if (asked !== undefined) withLoras.loras = named(asked, loras)
  if (isRecord(vary) && Array.isArray(vary.loras)) {
    withLoras.vary = { ...vary, loras: vary.loras.map((each: unknown) => named(each, loras)) }
  }
  return withLoras
}

/** Their names were checked; what is no list of LoRAs is left to the checks of `mix`. */
function named(asked: unknown, loras: NamedLoras): unknown {
  if (!Array.isArray(asked)) return asked
  return asked.map((lora: unknown) =>
    isRecord(lora) && typeof lora.file === 'string' ? { ...lora, file: loras[lora.file] } : lora,
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
