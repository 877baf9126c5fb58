/** Which models a server has, from its options. */
import { type LoadOptions, type MagicMix, MagicMixError } from 'magicmix'

import type { ModelSource } from './models.js'

export interface NamedModels {
  mixer?: MagicMix | undefined
  models?: Readonly<Record<string, LoadOptions>> | undefined
  defaultModel?: string | undefined
}

/** The model in the box, where none is named. */
export const inTheBox = 'world-128'

/** @throws MagicMixError INVALID_ARGUMENT */
export function sourcesOf({ mixer, models, defaultModel }: NamedModels) {
  const sources: Record<string, ModelSource> = {}
  if (mixer) sources[defaultModel ?? 'default'] = { mixer }
  const named = models ?? (mixer ? {} : { [inTheBox]: {} })
  for (const [name, load] of Object.entries(named)) {
    if (Object.hasOwn(sources, name)) {
      const message = `Expected another name than '${name}', which is the mixer's, in models`
      throw new MagicMixError('INVALID_ARGUMENT', message, { name: 'models', received: name })
    }
    sources[name] = { load }
  }
  const byDefault = defaultModel ?? Object.keys(sources)[0]
  if (byDefault === undefined || !Object.hasOwn(sources, byDefault)) {
    throw new MagicMixError(
      'INVALID_ARGUMENT',
      `Expected the name of a model for defaultModel but received '${byDefault}'`,
      { name: 'defaultModel', received: byDefault },
    )
  }
  return { sources, byDefault }
}
