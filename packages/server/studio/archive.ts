/** Pictures that were made, and what a job that runs is made of, kept in this browser: in IndexedDB, or where that is refused as long as the page is open. */
import type { Picture, Recipe } from './draft.js'
import type { Running } from './running.js'

export interface Made {
  id: number
  /** Milliseconds since 1970. */
  at: number
  picture: Blob
  thumbnail: Blob
  recipe: Recipe
  /** What the recipe only names. */
  layout: Picture | null
  map: Blob | null
}

/** The oldest go when there are more. */
const most = 200
const side = 192
const store = 'pictures'
const runningStore = 'running'

export class Archive {
  private readonly unsaved: Made[] = []

  private constructor(private readonly database: IDBDatabase | undefined) {}

  static async open(): Promise<Archive> {
    try {
      const request = indexedDB.open('magicmix-studio', 2)
      request.onupgradeneeded = () => {
        const { result } = request
        if (!result.objectStoreNames.contains(store)) {
          result.createObjectStore(store, { keyPath: 'id' })
        }
        result.createObjectStore(runningStore, { keyPath: 'self' })
      }
      return new Archive(await done(request))
    } catch {
      return new Archive(undefined)
    }
  }

  /** The newest first. */
  async all(): Promise<Made[]> {
    const saved: Made[] = this.database
      ? await done(this.objects('readonly').getAll() as IDBRequest<Made[]>).catch(() => [])
      : []
    return [...saved, ...this.unsaved].sort((a, b) => b.id - a.id)
  }

  async add(made: Omit<Made, 'id' | 'at' | 'thumbnail'>): Promise<Made> {
    const thumbnail = await thumbnailOf(made.picture)
    const at = Date.now()
    const latest = (await this.all())[0]?.id ?? 0
    const complete = { ...made, thumbnail, at, id: Math.max(at, latest + 1) }
    try {
      if (!this.database) throw new Error('there is no database')
      await done(this.objects('readwrite').add(complete))
    } catch {
      this.unsaved.push(complete) // no room, or not allowed
    }
    for (const old of (await this.all()).slice(most)) await this.remove(old.id)
    return complete
  }

  async remove(id: number): Promise<void> {
    const at = this.unsaved.findIndex((made) => made.id === id)
    if (at >= 0) this.unsaved.splice(at, 1)
    else if (this.database) await done(this.objects('readwrite').delete(id))
  }

  async clear(): Promise<void> {
    this.unsaved.length = 0
    if (this.database) await done(this.objects('readwrite').clear())
  }

  /** Where nothing can be kept, a page that is loaded again has forgotten it. */
  async keepRunning(running: Running): Promise<void> {
    if (!this.database) return
    await done(this.objects('readwrite', runningStore).put(running)).catch(() => undefined)
  }

  async running(self: string): Promise<Running | undefined> {
    if (!this.database) return undefined
    const request = this.objects('readonly', runningStore).get(self) as IDBRequest<
      Running | undefined
    >
    return done(request).catch(() => undefined)
  }

  async forgetRunning(self: string): Promise<void> {
    if (!this.database) return
    await done(this.objects('readwrite', runningStore).delete(self)).catch(() => undefined)
  }

  private objects(mode: IDBTransactionMode, name = store): IDBObjectStore {
    return this.database!.transaction(name, mode).objectStore(name)
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('IndexedDB'))
  })
}

async function thumbnailOf(picture: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(picture)
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(bitmap.width * scale))
  canvas.height = Math.max(1, Math.round(bitmap.height * scale))
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  bitmap.close()
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? picture), 'image/webp'))
}
