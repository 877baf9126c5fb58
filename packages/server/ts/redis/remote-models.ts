/** The models that workers have, as a server knows them. */
import type { MagicMix, Token } from 'magicmix'

import type { ModelDescription, ModelSet } from '../models/models.js'
import { Asking } from './ask.js'
import type { RedisPlace } from './place.js'

/**
 * Those that are configured, and those that a worker has had within the time that jobs may wait: jobs for one that none has at the
 * moment wait until one comes.
 */
export class RemoteModels implements ModelSet {
  private readonly asking: Asking

  constructor(
    private readonly place: RedisPlace,
    private readonly configured: readonly string[],
    private readonly configuredDefault: string | undefined,
  ) {
    this.asking = new Asking(place)
  }

  get names(): string[] {
    const { models } = this.place.crew
    return [...new Set([...this.configured, ...models.map(({ name }) => name)])]
  }

  get byDefault(): string {
    const [configured] = this.configured
    const { crew } = this.place
    const there = crew.models.find(({ name }) => crew.with(name).length > 0)
    return this.configuredDefault ?? configured ?? there?.name ?? crew.models[0]?.name ?? ''
  }

  loaded(): MagicMix | undefined {
    return undefined
  }

  describe(): ModelDescription[] {
    const { crew } = this.place
    const { byDefault } = this
    return this.names.map((name) => ({
      name,
      isDefault: name === byDefault,
      isLoaded: crew
        .with(name)
        .some(({ models }) => models.some((model) => model.name === name && model.isLoaded)),
      info: crew.models.find((model) => model.name === name)?.info ?? null,
    }))
  }

  tokenize(name: string, text: string): Promise<Token[]> {
    return this.asking.tokenize(name, text)
  }

  dispose(): Promise<void> {
    return Promise.resolve()
  }
}
