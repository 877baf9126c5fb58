/** Checks an order before it is queued, with all that is known by then. */
import { type MixRequest, recipe } from 'magicmix'

import type { Order } from '../jobs/jobs.js'
import type { ModelSet } from '../models/models.js'
import { unprocessable } from '../problem.js'
import { type NamedLoras, withFiles } from '../work/work.js'
import type { Guard } from './guard.js'

/**
 * With the model if it is loaded, without one as far as that goes; the rest comes out when the job begins.
 *
 * @throws MagicMixError, Problem
 */
export async function checkOrder(
  { kind, model, request }: Order,
  { models, loras, guard }: { models: ModelSet; loras: NamedLoras; guard: Guard },
): Promise<void> {
  const complete = withFiles(request, loras)
  const mixer = models.loaded(model)
  if (kind === 'sweep') {
    if (mixer) mixer.sweep(complete as never)
    else if (!guard.hasVaryForm(complete.vary)) {
      const message = 'Expected one to three options and lists or ranges of their values for vary'
      throw unprocessable(message, { name: 'vary' })
    }
  }
  const mix = (kind === 'sweep' ? firstCell(complete) : complete) as unknown as MixRequest
  if (mixer) guard.checkSize(await mixer.check(mix))
  else recipe(mix)
}

/** The request of one mix of a sweep. */
function firstCell({ vary, ...base }: Record<string, unknown>): Record<string, unknown> {
  const first = Object.entries((vary ?? {}) as Record<string, unknown>).map(([name, values]) => {
    const { from } = Object(values) as { from?: unknown }
    return [name, Array.isArray(values) ? (values[0] as unknown) : from]
  })
  return { ...base, ...(Object.fromEntries(first) as Record<string, unknown>) }
}
