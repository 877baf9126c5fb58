/** Models by name: loaded when they are first needed, and the least used unloaded where memory is short. */
import { type LoadOptions, MagicMix, MagicMixError, type Token } from 'magicmix'

import { noSuchModel } from '../problem.js'

/** How a model comes about: it is here, or it is loaded on demand. */
export type ModelSource = { mixer: MagicMix } | { load: LoadOptions }

export interface ModelsOptions {
  sources: Readonly<Record<string, ModelSource>>
  /** The one of requests that name none. */
  byDefault: string
  /** Bytes that the weights of all loaded models may have together. */
  memory?: number | undefined
  onLoad?: ((name: string, ms: number) => void) | undefined
  onUnload?: ((name: string) => void) | undefined
}

/** What is known of a model. */
export interface ModelDescription {
  name: string
  isDefault: boolean
  isLoaded: boolean
  /** Once it was loaded. */
  info: MagicMix['model'] | null
}

/** Models as routes know them: of this process, or of workers elsewhere. */
export interface ModelSet {
  readonly names: string[]
  /** The one of requests that name none. */
  readonly byDefault: string
  /** The one that is here already. */
  loaded(name: string): MagicMix | undefined
  describe(): ModelDescription[]
  tokenize(name: string, text: string, signal: AbortSignal): Promise<Token[]>
  dispose(): Promise<void>
}

interface Entry {
  name: string
  source: ModelSource
  mixer: MagicMix | undefined
  loading: Promise<MagicMix> | undefined
  users: number
  /** Rises with every use. */
  lastUse: number
  info: MagicMix['model'] | null
}

export class Models implements ModelSet {
  private readonly entries: Map<string, Entry>
  private uses = 0
  private readonly idle = new Set<() => void>()
  private isDisposed = false

  constructor(private readonly options: ModelsOptions) {
    this.entries = new Map(
      Object.entries(options.sources).map(([name, source]) => {
        const mixer = 'mixer' in source ? source.mixer : undefined
        const info = mixer?.model ?? null
        return [name, { name, source, mixer, info, loading: undefined, users: 0, lastUse: 0 }]
      }),
    )
  }

  get names(): string[] {
    return [...this.entries.keys()]
  }

  get byDefault(): string {
    return this.options.byDefault
  }

  /** The one that is there already. */
  loaded(name: string): MagicMix | undefined {
    return this.entries.get(name)?.mixer
  }

  describe(): ModelDescription[] {
    return [...this.entries.values()].map(({ name, mixer, info }) => ({
      name,
      isDefault: name === this.byDefault,
      isLoaded: mixer !== undefined,
      info,
    }))
  }

  /** Has the model for as long as `work` takes. */
  async use<T>(
    name: string,
    signal: AbortSignal,
    work: (mixer: MagicMix) => Promise<T>,
  ): Promise<T> {
    const entry = this.entries.get(name)
    if (!entry) throw noSuchModel(`There is no model '${name}' here`)
    entry.users++
    entry.lastUse = ++this.uses
    try {
      const mixer = entry.mixer ?? (await unlessAborted(this.load(entry), signal))
      return await work(mixer)
    } finally {
      entry.users--
      void this.trim(entry)
      for (const wake of this.idle) wake()
      this.idle.clear()
    }
  }

  tokenize(name: string, text: string, signal: AbortSignal): Promise<Token[]> {
    return this.use(name, signal, (mixer) => Promise.resolve(mixer.tokenize(text)))
  }

  /** Unloads all that were loaded here. */
  async dispose(): Promise<void> {
    this.isDisposed = true
    const entries = [...this.entries.values()]
    await Promise.allSettled(entries.flatMap(({ loading }) => loading ?? []))
    await Promise.all(entries.map((entry) => this.unload(entry)))
  }

  private async load(entry: Entry): Promise<MagicMix> {
    // Who comes meanwhile waits for the same; who gives up does not take it from others.
    entry.loading ??= this.loadNow(entry).finally(() => (entry.loading = undefined))
    return entry.loading
  }

  private async loadNow(entry: Entry): Promise<MagicMix> {
    const { source, name } = entry
    if ('mixer' in source) return source.mixer
    const started = performance.now()
    // What it took the last time it will take again.
    const weights = entry.info?.memory.weights ?? 0
    while (this.isOver(weights) && (await this.unloadLeastUsed(entry))) continue
    for (;;) {
      try {
        if (this.isDisposed) throw new MagicMixError('DISPOSED', 'The server was closed')
        const mixer = await MagicMix.load(source.load)
        entry.mixer = mixer
        entry.info = mixer.model
        this.options.onLoad?.(name, performance.now() - started)
        await this.trim(entry)
        return mixer
      } catch (error) {
        const isShort = error instanceof MagicMixError && error.code === 'OUT_OF_MEMORY'
        if (!isShort || !(await this.unloadLeastUsed(entry))) throw error
      }
    }
  }

  private isOver(more = 0): boolean {
    const { memory = Infinity } = this.options
    const loaded = [...this.entries.values()].map(({ mixer }) => mixer?.model.memory.weights ?? 0)
    return loaded.reduce((sum, bytes) => sum + bytes, more) > memory
  }

  /** Unloads what nobody uses, as long as there is too much. */
  private async trim(entry: Entry): Promise<void> {
    for (let least = this.leastUsed(entry); least && this.isOver();) {
      await this.unload(least)
      least = this.leastUsed(entry)
    }
  }

  /** Waits for one to become idle; false if there is none that could. */
  private async unloadLeastUsed(entry: Entry): Promise<boolean> {
    for (;;) {
      const least = this.leastUsed(entry)
      if (least) {
        await this.unload(least)
        return true
      }
      // One that is itself only being loaded is not waited for: it may wait for us.
      if (!this.others(entry).some(({ users }) => users > 0)) return false
      await new Promise<void>((resolve) => this.idle.add(resolve))
    }
  }

  private leastUsed(entry: Entry): Entry | undefined {
    const idle = this.others(entry).filter(({ users }) => users === 0)
    return idle.sort((a, b) => a.lastUse - b.lastUse)[0]
  }

  /** That could be unloaded. */
  private others(entry: Entry): Entry[] {
    return [...this.entries.values()].filter(
      (each) => each !== entry && each.mixer && 'load' in each.source,
    )
  }

  private async unload(entry: Entry): Promise<void> {
    const { mixer, source, name } = entry
    if (!mixer || 'mixer' in source) return
    entry.mixer = undefined
    await mixer.dispose()
    this.options.onUnload?.(name)
  }
}

/** What others wait for as well goes on. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason as Error)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
