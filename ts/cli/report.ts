/** Progress on standard error: a bar on a terminal, else plain lines. */
import { SingleBar } from 'cli-progress'

import type {
  ConvertProgressEvent,
  DownloadProgressEvent,
  LoadProgressEvent,
  ProgressEvent,
} from '../progress.js'

type ReportedEvent = ProgressEvent | LoadProgressEvent | ConvertProgressEvent

export interface Report {
  show(event: ReportedEvent): void
  /** Takes the bar away; to be called before anything else is printed. */
  end(): void
}

export function startReport(stream: NodeJS.WriteStream = process.stderr): Report {
  return withLicense(stream, stream.isTTY ? bar(stream) : lines(stream))
}

/** Says of a repository, before it is downloaded, where it comes from and under which licence. */
function withLicense(stream: NodeJS.WriteStream, report: Report): Report {
  const said = new Set<string>()
  return {
    show(event) {
      const download = downloadOf(event)
      if (download && !said.has(download.repo)) {
        const { repo, license, totalBytes } = download
        report.end()
        stream.write(`${repo}: ${bytes(totalBytes)}, ${licenseText(license)}\n`)
        said.add(repo)
      }
      report.show(event)
    },
    end: () => report.end(),
  }
}

/** Progress of many mixes: how many of `total` are done. */
export function startCount(total: number): { show(done: number): void; end(): void } {
  const started = performance.now()
  const report = startReport()
  return {
    show(done) {
      const etaMs = ((performance.now() - started) / done) * (total - done)
      report.show({ stage: 'content', step: done, steps: total, timestep: 0, etaMs })
    },
    end: () => report.end(),
  }
}

const stageTexts = {
  download: 'downloading',
  load: 'loading the model',
  convert: 'converting',
  queued: 'waiting',
  encode: 'reading the input',
  layout: 'layout',
  content: 'mixing',
  score: 'judging',
  decode: 'painting',
}

/** Of a mix the download of a LoRA is within the event. */
function downloadOf(event: ReportedEvent): DownloadProgressEvent | undefined {
  if ('download' in event) return event.download
  return 'totalBytes' in event ? event : undefined
}

function bar(stream: NodeJS.WriteStream): Report {
  const single = new SingleBar({
    stream,
    format: '{stage} [{bar}] {done}/{all} {left}',
    barsize: 30,
    clearOnComplete: true,
    forceRedraw: true,
  })
  let stage: string | undefined
  return {
    show(event) {
      const { value, total, ...texts } = amount(event)
      const payload = { stage: stageTexts[event.stage].padEnd(17), ...texts }
      if (stage === event.stage) {
        single.setTotal(total)
        single.update(value, payload)
      } else {
        if (stage !== undefined) single.stop()
        stage = event.stage
        single.start(total, value, payload)
      }
    },
    end() {
      if (stage !== undefined) single.stop()
      stage = undefined
    },
  }
}

/** About ten lines a stage. */
function lines(stream: NodeJS.WriteStream): Report {
  let printed = ''
  return {
    show(event) {
      const { value, total, done, all, left } = amount(event)
      const tenth = `${event.stage} ${Math.floor((10 * value) / Math.max(1, total))}`
      if (tenth === printed) return
      printed = tenth
      stream.write(`${stageTexts[event.stage]} ${done}/${all} ${left}`.trimEnd() + '\n')
    },
    end() {},
  }
}

/** How far an event is, as numbers and for people: steps, but bytes of a download. */
function amount(event: ReportedEvent) {
  const download = downloadOf(event)
  if (!download) {
    const { step, steps, etaMs } = event
    return { value: step, total: steps, done: `${step}`, all: `${steps}`, left: timeLeft(etaMs) }
  }
  const { bytes: value, totalBytes: total, bytesPerSecond, etaMs } = download
  const rate = bytesPerSecond > 0 ? `${bytes(bytesPerSecond)}/s ` : ''
  return { value, total, done: bytes(value), all: bytes(total), left: rate + timeLeft(etaMs) }
}

/** `licence MIT, https://...`, for people. */
export function licenseText(license: { name: string; url: string } | null): string {
  return license ? `licence ${license.name}, ${license.url}` : 'licence unknown'
}

function timeLeft(etaMs: number): string {
  if (etaMs <= 0) return ''
  const seconds = Math.ceil(etaMs / 1000)
  const minutes = Math.floor(seconds / 60)
  return minutes > 0 ? `${minutes} min ${seconds % 60} s left` : `${seconds} s left`
}

/** `1.5 s`, for people. */
export function duration(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

/** `1.9 GiB`, for people. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = count
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
