/** /v1/images/generations and /v1/images/edits, as clients of OpenAI's API call them. */
import { Readable } from 'node:stream'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { rewritePicture } from 'magicmix'
import sharp from 'sharp'

import type { Context } from '../context.js'
import type { Job } from '../jobs/jobs.js'
import { Problem, bug, problemOf, unprocessable } from '../problem.js'
import { type Body, readBody } from '../request/body.js'
import {
  type Harmless,
  allMade,
  eventsOf,
  hungUp,
  isFields,
  madeBy,
  maskAsMap,
  ownOptions,
  refuseOthers,
  seedsOf,
  submitAll,
  together,
} from './foreign.js'

type Format = 'png' | 'jpeg' | 'webp'
type Fields = Record<string, unknown>

const harmless: Harmless = {
  user: 'anything',
  moderation: 'anything',
  response_format: ['b64_json'],
  background: ['auto', 'opaque'],
  quality: ['auto', 'standard'],
  output_compression: [100],
  input_fidelity: [],
  style: [],
}

/** Of the fields of a form: what is no text. */
const formSchema = {
  type: 'object',
  properties: Object.fromEntries(
    ['prompt', 'model', 'size', 'response_format', 'output_format', 'background', 'quality']
      .concat(['user', 'moderation', 'style', 'input_fidelity', 'layout'])
      .map((name) => [name, { type: 'string' }]),
  ),
}

export function openAiRoutes(app: FastifyInstance, context: Context): void {
  void app.register((routes, _, done) => {
    routes.setErrorHandler(answerAsOpenAi)
    const schema = { hide: true }
    routes.post('/v1/images/generations', { schema }, async (request, reply) => {
      const { fields } = await bodyOf(request, context)
      const { prompt, layout, ...rest } = fields
      // Without a layout of its own the prompt is that, too.
      const laidOut = ownOptions(rest.magicmix, 'magicmix').layout === undefined
      const given = layout ?? (laidOut ? prompt : undefined)
      const asLayout = typeof given === 'string' ? { prompt: given } : given
      return answer(context, reply, 'image_generation', { ...rest, prompt, layout: asLayout }, {})
    })
    routes.post('/v1/images/edits', { schema }, async (request, reply) => {
      const { fields, parts } = await bodyOf(request, context)
      const { image, mask, ...more } = parts
      for (const name of Object.keys(more)) throw unprocessable(`${name} is no picture`, { name })
      if (image?.length !== 1) {
        throw unprocessable('Expected one picture for image: it is the layout', { name: 'image' })
      }
      if (fields.layout !== undefined)
        throw unprocessable('layout is the image', { name: 'layout' })
      const pictures: Body['parts'] = { layout: image }
      if (mask?.[0]) {
        const form = { name: 'mask', byAlpha: true, invert: true }
        pictures.kMaxMap = [await maskAsMap(context, mask[0], form)]
      }
      return answer(context, reply, 'image_edit', fields, pictures)
    })
    done()
  })
}

/** With `magicmix[kMin]` as fields of `magicmix`, and `image[]` as `image`: as clients write forms. */
async function bodyOf(request: FastifyRequest, { limits }: Context) {
  const { fields, parts } = await readBody(request, formSchema, limits.bodyBytes)
  const whole: Fields = {}
  const own: Fields = {}
  for (const [name, value] of Object.entries(fields)) {
    const [, option] = /^magicmix\[(\w{1,40})\]$/.exec(name) ?? []
    if (option !== undefined) own[option] = value
    else whole[name] = value
  }
  if (Object.keys(own).length > 0)
    whole.magicmix = { ...ownOptions(whole.magicmix, 'magicmix'), ...own }
  const files: Body['parts'] = {}
  for (const [name, list] of Object.entries(parts)) {
    const bare = name.replace(/\[\]$/, '')
    files[bare] = [...(files[bare] ?? []), ...list]
  }
  return { fields: whole, parts: files }
}

async function answer(
  context: Context,
  reply: FastifyReply,
  kind: 'image_generation' | 'image_edit',
  fields: Fields,
  pictures: Body['parts'],
): Promise<FastifyReply> {
  const { prompt, model, n, size, output_format, stream, partial_images, ...rest } = fields
  const { magicmix, layout, ...others } = rest
  refuseOthers(others, harmless)
  const own = ownOptions(magicmix, 'magicmix')
  const format = formatOf(output_format)
  const isStream = booleanOf(stream, 'stream')
  const partials = partialsOf(partial_images)
  if (partials > 0 && !isStream) {
    throw unprocessable('partial_images needs stream', { name: 'partial_images' })
  }
  if (isStream && (n ?? 1) !== 1) {
    throw unprocessable('Of a stream n is 1', { name: 'n' })
  }
  const request = together(
    {
      ...{ content: prompt, model: model ?? undefined, layout },
      ...sizeOf(size),
      ...(partials > 0 ? { previewEvery: 1 } : {}),
    },
    own,
  )
  const seeds = seedsOf(own.seed, n, 'n')
  const submissions = seeds.map((seed) => ({
    fields: seed === undefined ? request : { ...request, seed },
    parts: pictures,
  }))
  const gone = hungUp(reply)
  const jobs = await submitAll(context, submissions)
  const [first] = jobs
  if (isStream && first) {
    const events = streamed(context, first, { kind, format, partials, gone })
    return reply
      .headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
      .type('text/event-stream; charset=utf-8')
      .send(Readable.from(events, { highWaterMark: 2 }))
  }
  const made = await allMade(context, jobs, gone)
  const data = []
  for (const { picture } of made) data.push({ b64_json: await inFormat(picture, format) })
  return reply.send({ ...common(format, made[0]?.job), created: now(), data, usage: noUsage })
}

interface StreamOptions {
  kind: string
  format: Format
  partials: number
  gone: AbortSignal
}

async function* streamed(
  context: Context,
  job: Job,
  { kind, format, partials, gone }: StreamOptions,
): AsyncGenerator<string, void, undefined> {
  const send = (type: string, data: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
  try {
    let sent = 0
    for await (const { event, data } of eventsOf(context, job.id, gone)) {
      if (event !== 'preview' || sent >= partials) continue
      // Spread evenly over its steps.
      if (Number(data.step) < ((sent + 1) * Number(data.steps)) / (partials + 1)) continue
      const preview = Buffer.from(String(data.base64), 'base64')
      const b64_json = (await sharp(preview).toFormat(format).toBuffer()).toString('base64')
      const about = { ...common(format, undefined), created_at: now(), b64_json }
      yield send(`${kind}.partial_image`, { ...about, partial_image_index: sent++ })
    }
    const { job: done, picture } = await madeBy(context, job.id)
    const b64_json = await inFormat(picture, format)
    const about = { ...common(format, done), created_at: now(), b64_json, usage: noUsage }
    yield send(`${kind}.completed`, about)
  } catch (error) {
    yield `event: error\ndata: ${JSON.stringify(openAiError(problemOf(error) ?? bug()))}\n\n`
  }
}

async function inFormat(picture: Buffer, format: Format): Promise<string> {
  const bytes = format === 'png' ? picture : await rewritePicture(picture, format)
  return Buffer.from(bytes).toString('base64')
}

function common(format: Format, job: Job | undefined) {
  const { width, height } = job?.result ?? {}
  const isKnown = typeof width === 'number' && typeof height === 'number'
  const size = isKnown ? `${width}x${height}` : 'auto'
  return { background: 'opaque', output_format: format, quality: 'auto', size }
}

/** Texts are not counted, and nothing is paid for. */
const noUsage = {
  ...{ input_tokens: 0, output_tokens: 0, total_tokens: 0 },
  input_tokens_details: { image_tokens: 0, text_tokens: 0 },
}

const now = () => Math.floor(Date.now() / 1000)

function sizeOf(size: unknown): { width?: number; height?: number } {
  if (size === undefined || size === null || size === 'auto') return {}
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(typeof size === 'string' ? size : '') ?? []
  if (width === undefined)
    throw unprocessable("Expected 'auto' or WIDTHxHEIGHT for size", { name: 'size' })
  return { width: Number(width), height: Number(height) }
}

function formatOf(format: unknown): Format {
  if (format === undefined || format === null) return 'png'
  if (format === 'png' || format === 'jpeg' || format === 'webp') return format
  throw unprocessable('Expected png, jpeg or webp for output_format', { name: 'output_format' })
}

function booleanOf(value: unknown, name: string): boolean {
  if (value === undefined || value === null) return false
  if (typeof value === 'boolean') return value
  throw unprocessable(`Expected true or false for ${name}`, { name })
}

function partialsOf(value: unknown): number {
  if (value === undefined || value === null) return 0
  if (value === 0 || value === 1 || value === 2 || value === 3) return value
  const name = 'partial_images'
  throw unprocessable(`Expected a whole number from 0 to 3 for ${name}`, { name })
}

/** An error in the form that OpenAI's clients read. */
function openAiError({ status, code, message, details }: Problem) {
  const { name, option } = isFields(details) ? details : {}
  const type =
    status === 429 ? 'rate_limit_error' : status < 500 ? 'invalid_request_error' : 'server_error'
  return { error: { message, type, param: name ?? option ?? null, code } }
}

function answerAsOpenAi(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problem = problemOf(error) ?? bug()
  if (problem.status >= 500) request.log.error({ err: error }, 'failed')
  const status =
    problem.code === 'MODEL_NOT_FOUND' ? 404 : problem.status === 422 ? 400 : problem.status
  return reply.code(status).headers(problem.headers).send(openAiError(problem))
}
