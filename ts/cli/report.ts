/** Progress on standard error: a bar on a terminal, else plain lines. */
import { SingleBar } from 'cli-progress'

import type { ProgressEvent } from '../progress.js'

/** What all events have in common. */
export type ReportedEvent = Pick<ProgressEvent, 'step' | 'steps' | 'etaMs'> & {
  stage: keyof typeof stageTexts
}

export interface Report {
  show(event: ReportedEvent): void
  /** Takes the bar away; to be called before anything else is printed. */
  end(): void
}

export function startReport(stream: NodeJS.WriteStream = process.stderr): Report {
  return stream.isTTY ? bar(stream) : lines(stream)
}

/** Progress of many mixes: how many of `total` are done. */
export function startCount(total: number): { show(done: number): void; end(): void } {
  const started = performance.now()
  const report = startReport()
  return {
    show(done) {
      const etaMs = ((performance.now() - started) / done) * (total - done)
      report.show({ stage: 'content', step: done, steps: total, etaMs })
    },
    end: () => report.end(),
  }
}

const stageTexts = {
  load: 'loading the model',
  convert: 'converting',
  encode: 'reading the input',
  layout: 'layout',
  content: 'mixing',
  decode: 'painting',
}

function bar(stream: NodeJS.WriteStream): Report {
  const single = new SingleBar({
    stream,
    format: '{stage} [{bar}] {value}/{total} {left}',
    barsize: 30,
    clearOnComplete: true,
    forceRedraw: true,
  })
  let stage: string | undefined
  return {
    show(event) {
      const payload = { stage: stageTexts[event.stage].padEnd(17), left: timeLeft(event.etaMs) }
      if (stage === event.stage) {
        single.update(event.step, payload)
      } else {
        if (stage !== undefined) single.stop()
        stage = event.stage
        single.start(event.steps, event.step, payload)
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
    show({ stage, step, steps, etaMs }) {
      const tenth = `${stage} ${Math.floor((10 * step) / Math.max(1, steps))}`
      if (tenth === printed) return
      printed = tenth
      stream.write(`${stageTexts[stage]} ${step}/${steps} ${timeLeft(etaMs)}`.trimEnd() + '\n')
    },
    end() {},
  }
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
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
