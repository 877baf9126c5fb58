/** A sweep, from its order to its cells and their sheet. */
import type { MagicMix, Sweep, SweepCell, SweepProgressEvent, SweepRequest } from 'magicmix'

import type { Report } from '../jobs/jobs.js'
import { progressOf } from './mix.js'
import { InOrder, previewOf } from './previews.js'

export async function workOnSweep(
  mixer: MagicMix,
  request: Record<string, unknown>,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const told = new InOrder()
  const onProgress = (event: SweepProgressEvent) => {
    const { cell, cells, unetCalls } = event
    const where = { cell: cell.index, cells, unetCalls }
    told.then(() => report.event('progress', { ...progressOf(event), ...where }))
    if (!event.preview) return
    told.then(async () =>
      report.event('preview', { ...(await previewOf(event)), cell: cell.index }),
    )
  }
  // `sweep` checks whatever it gets.
  const sweep = mixer.sweep({ ...(request as unknown as SweepRequest), signal, onProgress })
  const sheet = new GrowingSheet(sweep, report)
  report.result(resultOf(sweep))
  try {
    for await (const cell of sweep) {
      const { index, mix } = cell
      await told.done()
      report.blob(`cell/${index}`, await mix.toBuffer({ format: 'png', recipe: true }))
      report.result(resultOf(sweep))
      report.event('cell', cellOf(cell))
      await sheet.grow()
    }
  } finally {
    await sheet.complete() // of what is there, however it ended
  }
}

/** A sheet of many cells takes longer to draw than a cell to mix: it is drawn for a tenth of the time at most. */
class GrowingSheet {
  private next = 0
  private drawn = 0

  constructor(
    private readonly sweep: Sweep,
    private readonly report: Report,
  ) {}

  async grow(): Promise<void> {
    if (performance.now() >= this.next) await this.draw()
  }

  async complete(): Promise<void> {
    if (this.drawn < this.sweep.finished.length) await this.draw()
  }

  private async draw(): Promise<void> {
    const started = performance.now()
    this.drawn = this.sweep.finished.length
    this.report.blob('sheet', await this.sweep.sheet().toBuffer('png'))
    const now = performance.now()
    this.next = now + 10 * (now - started)
  }
}

function resultOf({ plan, axes, finished }: Sweep) {
  return { plan, axes: axes.map(plainAxis), cells: finished.map(cellOf) }
}

function cellOf({ index, at, mix }: SweepCell) {
  const { seed, width, height } = mix
  return { index, at: plain(at), seed, width, height }
}

function plainAxis({ option, values }: Sweep['axes'][number]) {
  return { option, values: values.map(plain) }
}

/** Without pictures, which may be varied like anything else. */
function plain(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return null
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]))
}
