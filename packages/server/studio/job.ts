/** A job, from its begin to its end. */
import { type Api, type Job, type JobEvent, Problem } from './api.js'

export interface JobRun {
  /** Resolves to the finished job. */
  readonly end: Promise<Job>
  cancel(): void
}

export class Cancelled extends Error {}

/** @param begin sends it, or asks for one that was sent before */
export function runJob(
  api: Api,
  begin: () => Promise<Job>,
  onEvent: (event: JobEvent, job: Job) => void,
): JobRun {
  let job: Job | undefined
  let isCancelled = false
  const stop = async () => {
    isCancelled = true
    // One that has just ended needs no more.
    if (job) await api.post(`${job.links.self}/cancel`).catch(() => undefined)
  }
  const run = async () => {
    job = await begin()
    if (isCancelled) await stop()
    for await (const event of api.events(job.links.events ?? '')) onEvent(event, job)
    const ended = await api.get<Job>(job.links.self ?? '')
    if (ended.status === 'cancelled') throw new Cancelled()
    if (ended.error) {
      throw new Problem(ended.error.message, 500, ended.error.code, ended.error.details)
    }
    return ended
  }
  return { end: run(), cancel: () => void stop() }
}

/** How far a mix is: 0..1, and in words. */
export function progressOf(
  { data }: JobEvent,
  layoutShare: number,
): { fraction: number; text: string } {
  const { stage, step, steps, etaMs, position } = data as Partial<Record<string, number>> & {
    stage?: string
  }
  const part = steps ? (step ?? 0) / steps : 0
  const left = etaMs ? `, about ${duration(etaMs)} left` : ''
  switch (stage) {
    case 'queued':
      return { fraction: 0, text: position ? `Waiting for ${position} before it` : 'Waiting' }
    case 'download':
      return { fraction: 0, text: 'A LoRA is being fetched' }
    case 'layout':
      return {
        fraction: part * layoutShare,
        text: `Layout: step ${step ?? 0} of ${steps ?? 0}${left}`,
      }
    case 'content':
      return {
        fraction: layoutShare + part * (0.98 - layoutShare),
        text: `Step ${step ?? 0} of ${steps ?? 0}${left}`,
      }
    case 'decode':
      return { fraction: 0.98, text: 'Drawing the picture' }
    default:
      return { fraction: 0, text: 'Reading layout and content' }
  }
}

export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 1) return 'a moment'
  if (seconds < 90) return `${seconds} s`
  return `${Math.round(seconds / 60)} min`
}
