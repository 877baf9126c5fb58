/** What the APIs of others have in common: they answer with the picture itself, and their pictures and masks have forms of their own. */
import type { FastifyReply } from 'fastify'
import sharp from 'sharp'

import type { Context } from '../context.js'
import { type Job, type JobEvent, isFinished } from '../jobs/jobs.js'
import { Problem, serverProblem, statusOf, unprocessable } from '../problem.js'
import { checkPicture } from '../request/pictures.js'
import { type Submission, submit } from '../request/submit.js'

export interface Made {
  job: Job
  /** A PNG with its recipe. */
  picture: Buffer
}

/** Aborts when a client hangs up. */
export function hungUp(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  return gone.signal
}

/** Puts mixes into the queue: all of them, or none. */
export async function submitAll(
  context: Context,
  submissions: readonly Omit<Submission, 'kind' | 'fingerprint'>[],
): Promise<Job[]> {
  const jobs: Job[] = []
  try {
    for (const each of submissions) {
      const { job } = await submit(context, { ...each, kind: 'mix', fingerprint: '' })
      jobs.push(job)
    }
    return jobs
  } catch (error) {
    for (const { id } of jobs) await context.jobs.remove(id)
    throw error
  }
}

/** The events of a job to its end; it is cancelled if the client hangs up meanwhile. */
export async function* eventsOf(
  { jobs, closing }: Context,
  id: string,
  gone: AbortSignal,
): AsyncGenerator<JobEvent, void, undefined> {
  // Not after the loop: nobody may read on who has hung up.
  const give = () => void jobs.cancel(id).catch(() => {}) // it is kept for nobody then, no more
  gone.addEventListener('abort', give, { once: true })
  try {
    yield* jobs.events(id, 0, AbortSignal.any([gone, closing]))
  } finally {
    if (!gone.aborted) gone.removeEventListener('abort', give)
  }
  if (gone.aborted) {
    give()
    // Nobody reads it; the log has the status that is usual for this.
    throw new Problem(499, 'GONE', 'The client hung up')
  }
}

/** @throws Problem: what it failed for */
export async function madeBy({ jobs }: Context, id: string): Promise<Made> {
  const job = await jobs.get(id)
  if (job === undefined || job === 'gone') throw serverProblem('GONE', 'It was deleted')
  if (!isFinished(job.status)) throw serverProblem('DRAINING', 'The server is shutting down')
  const { status, error } = job
  if (status === 'cancelled') throw serverProblem('CONFLICT', 'It was cancelled')
  if (error) throw new Problem(statusOf(error.code), error.code, error.message, error.details)
  const picture = await jobs.blob(id, 'picture')
  if (!picture) throw serverProblem('GONE', 'It was deleted')
  return { job, picture: picture.bytes }
}

/** To the end of all of them, which are given up together. */
export async function allMade(
  context: Context,
  jobs: readonly Job[],
  gone: AbortSignal,
): Promise<Made[]> {
  try {
    const made = []
    for (const { id } of jobs) {
      for await (const _ of eventsOf(context, id, gone)) void _
      made.push(await madeBy(context, id))
    }
    return made
  } catch (error) {
    for (const { id } of jobs) await context.jobs.cancel(id)
    throw error
  }
}

/** `data:image/png;base64,...`, or base64 alone, as the form that requests have. */
export function encoded(value: unknown, name: string): { bytes: string } {
  if (typeof value !== 'string') {
    throw unprocessable(`Expected a picture in base64 for ${name}`, { name })
  }
  return { bytes: value.replace(/^data:[\w/.+-]{1,60};base64,/, '').replace(/\s+/g, '') }
}

/** A mask as a map of `kMax`: where it is black the picture stays as it is. */
export async function maskAsMap(
  { limits }: Context,
  mask: Buffer,
  { name, byAlpha, invert }: { name: string; byAlpha: boolean; invert: boolean },
): Promise<Buffer> {
  await checkPicture({ name, bytes: mask }, limits)
  const picture = sharp(mask, { limitInputPixels: limits.picturePixels })
  try {
    // sharp has an order of its own for what stands in one chain.
    const whole = picture.ensureAlpha().toColourspace('srgb').raw({ depth: 'uchar' })
    const { data, info } = await whole.toBuffer({ resolveWithObject: true })
    const { width, height, channels } = info
    const plane = Buffer.alloc(width * height)
    for (let i = 0; i < plane.length; i++) {
      const value = data[i * channels + (byAlpha ? channels - 1 : 0)] ?? 0
      plane[i] = invert ? 255 - value : value
    }
    return await sharp(plane, { raw: { width, height, channels: 1 } })
      .png()
      .toBuffer()
  } catch {
    const message = `${name} is damaged, cut off or of an unusual kind`
    throw new Problem(422, 'PICTURE_UNREADABLE', message, { picture: name })
  }
}

/** Options of ours that stand in a field of their own. */
export function ownOptions(value: unknown, name: string): Record<string, unknown> {
  if (value === undefined || value === null) return {}
  if (isFields(value)) return { ...value }
  throw unprocessable(`Expected an object for ${name}`, { name })
}

/** @throws Problem if both say something of one option */
export function together(
  fields: Record<string, unknown>,
  own: Record<string, unknown>,
): Record<string, unknown> {
  const said = Object.entries(fields).filter(([, value]) => value !== undefined)
  for (const [name] of said) {
    if (own[name] !== undefined) throw unprocessable(`${name} comes twice`, { name })
  }
  return { ...Object.fromEntries(said), ...own }
}

/** Fields that change nothing here with these values; null and nothing at all never do. */
export type Harmless = Readonly<Record<string, 'anything' | readonly unknown[]>>

/** @throws Problem for a field that would change the picture if it were honoured */
export function refuseOthers(fields: Readonly<Record<string, unknown>>, harmless: Harmless): void {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue
    const values = Object.hasOwn(harmless, name) ? harmless[name] : undefined
    if (values === 'anything') continue
    if (values === undefined) {
      const message = `${name} is not offered here`
      throw new Problem(422, 'UNKNOWN_OPTION', message, { option: name, name })
    }
    const isEmpty = typeof value === 'object' && Object.keys(value).length === 0
    if (values.includes(value) || (isEmpty && values.includes('empty'))) continue
    const taken = values.map((each) => (each === 'empty' ? 'nothing' : JSON.stringify(each)))
    throw unprocessable(`${name} is not offered here, but as ${taken.join(', ')}`, { name })
  }
}

/** How many pictures, and the seeds of them: the first one's, and those after it. */
export function seedsOf(seed: unknown, count: unknown, name: string): unknown[] {
  const many = count ?? 1
  if (typeof many !== 'number' || !Number.isInteger(many) || many < 1 || many > mostPictures) {
    throw unprocessable(`Expected a whole number from 1 to ${mostPictures} for ${name}`, { name })
  }
  return Array.from({ length: many }, (_, i) => (typeof seed === 'number' ? seed + i : seed))
}

const mostPictures = 10

export function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
