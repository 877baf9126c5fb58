/** From what a client has sent to a job in the queue. Every group of routes comes through here. */
import type { Context } from '../context.js'
import type { JobKind, Order, Submitted } from '../jobs/jobs.js'
import { noSuchModel, serverProblem, unprocessable } from '../problem.js'
import type { Body } from './body.js'
import { bytesOf, checkPicture, picturesIn, withBuffers } from './pictures.js'

export interface Submission extends Pick<Body, 'fields' | 'fingerprint'> {
  kind: JobKind
  parts?: Body['parts']
  /** Of the Idempotency-Key header. */
  key?: string | undefined
  priority?: number | undefined
}

/** @throws Problem, MagicMixError: what is wrong with the request, or that there is no place for it */
export async function submit(
  context: Context,
  { kind, fields, parts = {}, fingerprint, key, priority }: Submission,
): Promise<Submitted> {
  const { models, guard, jobs } = context
  const { model = models.byDefault, ...request } = fields
  if (models.names.length === 0) {
    const message = 'No worker has come with a model yet; try again later'
    throw serverProblem('NO_WORKER', message)
  }
  if (typeof model !== 'string' || !models.names.includes(model)) {
    const message = `There is no such model here; there are ${models.names.join(', ')}`
    throw noSuchModel(message, { name: 'model' })
  }
  guard.check(kind, request)
  const complete = withParts(takeIn(request, guard.pictures), parts, guard.pictures)
  const pictures = [complete, Object(complete.vary) as Record<string, unknown>].flatMap((options) =>
    guard.pictures.flatMap((name) => picturesIn(options[name], name)),
  )
  for (const picture of pictures) await checkPicture(picture, context.limits)
  const bytes = pictures.reduce((sum, picture) => sum + bytesOf(picture), 1024)
  const order: Order = { kind, model, request: complete, bytes, priority }
  if (key !== undefined) order.once = { key, fingerprint: `${kind} ${fingerprint}` }
  await context.check(order)
  return jobs.submit(order)
}

/** Pictures in base64 as bytes. */
function takeIn(
  request: Record<string, unknown>,
  names: readonly string[],
): Record<string, unknown> {
  const taken = { ...request }
  for (const name of names) {
    if (taken[name] !== undefined) taken[name] = withBuffers(taken[name], name)
  }
  const { vary } = taken
  if (typeof vary === 'object' && vary !== null && !Array.isArray(vary)) {
    taken.vary = takeIn(vary as Record<string, unknown>, names)
  }
  return taken
}

/** A part has the name of its option; several of one name are a list. */
function withParts(
  request: Record<string, unknown>,
  parts: Body['parts'],
  pictures: readonly string[],
): Record<string, unknown> {
  const complete = { ...request }
  for (const [name, files] of Object.entries(parts)) {
    if (!pictures.includes(name)) {
      const message = `The part ${name} is no picture; pictures are ${pictures.join(', ')}`
      throw unprocessable(message, { name })
    }
    if (complete[name] !== undefined) throw unprocessable(`${name} comes twice`, { name })
    complete[name] = files.length === 1 ? files[0] : files
  }
  return complete
}
