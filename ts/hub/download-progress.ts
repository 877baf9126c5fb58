/** Progress of the download of several files, reported a few times per second. */
import type { Watch } from '../native/job.js'
import { Listener } from '../native/listener.js'
import type { DownloadProgressEvent } from '../progress.js'
import type { RemoteFile } from './listing.js'
import type { License } from './references.js'

const reportEveryMs = 100

export class DownloadProgress {
  /** Bytes that came over the network. */
  receivedBytes = 0
  /** When the first file was begun, after waiting for another pull. */
  private started: number | undefined
  private lastReport = -Infinity
  private readonly listener: Listener<DownloadProgressEvent> | undefined
  /** How much of each file is there, by its path. */
  private readonly present: Map<string, number>

  /** @param stop aborted with an error of `onProgress` */
  constructor(
    private readonly model: { repo: string; license: License | undefined },
    private readonly files: readonly RemoteFile[],
    parts: readonly number[],
    { onProgress }: Watch<DownloadProgressEvent>,
    stop: AbortController,
  ) {
    this.listener = onProgress && new Listener(onProgress, (error) => stop.abort(error))
    this.present = new Map(files.map(({ path }, i) => [path, parts[i] ?? 0]))
  }

  /** `bytes` of a file are there; `received` of them have come just now. */
  update(file: RemoteFile, bytes: number, received: number): void {
    this.present.set(file.path, bytes)
    this.receivedBytes += received
    const now = performance.now()
    this.started ??= now
    const event = this.eventAt(file, now - this.started)
    if (now - this.lastReport < reportEveryMs && event.bytes < event.totalBytes) return
    this.lastReport = now
    this.listener?.notify(event)
  }

  private eventAt(file: RemoteFile, elapsedMs: number): DownloadProgressEvent {
    const bytes = sum([...this.present.values()])
    const totalBytes = sum(this.files.map((each) => each.bytes))
    const bytesPerSecond = (1000 * this.receivedBytes) / Math.max(1, elapsedMs)
    return {
      stage: 'download',
      repo: this.model.repo,
      license: this.model.license ?? null,
      file: file.path,
      step: this.files.filter(({ path, bytes }) => this.present.get(path) === bytes).length,
      steps: this.files.length,
      bytes,
      totalBytes,
      bytesPerSecond,
      etaMs: bytesPerSecond > 0 ? (1000 * (totalBytes - bytes)) / bytesPerSecond : 0,
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
