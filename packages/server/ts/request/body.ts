/** The body of a request: JSON, or multipart with pictures as parts. */
import { createHash } from 'node:crypto'

import type { Multipart } from '@fastify/multipart'
import type { FastifyRequest } from 'fastify'
import type { JsonSchema } from 'magicmix'

import { problemOf, serverProblem, unprocessable } from '../problem.js'

/** What a client has sent; pictures of parts are `Buffer`s, others still in base64. */
export interface Body {
  fields: Record<string, unknown>
  /** By name of the option: pictures that came as parts. */
  parts: Record<string, Buffer[]>
  /** Tells it from another body. */
  fingerprint: string
}

/** Set by the parser of JSON: a hash of the bytes. */
export interface HashedRequest extends FastifyRequest {
  bodyHash?: string
}

/** @param schema that of the fields, which says what the texts of parts are */
export async function readBody(
  request: FastifyRequest,
  schema: JsonSchema,
  mostBytes: number,
): Promise<Body> {
  if (request.isMultipart()) return readParts(request, schema, mostBytes)
  const { body } = request
  if (body === undefined) throw serverProblem('BAD_REQUEST', 'The request has no body')
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw unprocessable('Expected an object for the request', { name: 'the request' })
  }
  const fingerprint = (request as HashedRequest).bodyHash ?? ''
  return { fields: { ...body }, parts: {}, fingerprint }
}

async function readParts(
  request: FastifyRequest,
  schema: JsonSchema,
  mostBytes: number,
): Promise<Body> {
  const fields: Record<string, unknown> = {}
  const parts: Record<string, Buffer[]> = {}
  const hash = createHash('sha256')
  let bytes = 0
  const count = (length: number) => {
    bytes += length
    if (bytes > mostBytes) throw serverProblem('TOO_LARGE', `At most ${mostBytes} bytes are taken`)
  }
  for await (const part of partsOf(request)) {
    const { fieldname: name } = part
    if (part.type === 'file') {
      const file = await ofForm(part.toBuffer())
      count(file.length)
      hash.update(`${name}:${file.length}:`).update(file)
      parts[name] = [...(Object.hasOwn(parts, name) ? (parts[name] ?? []) : []), file]
      continue
    }
    const text = String(part.value)
    count(text.length)
    hash.update(`${name}:${text.length}:`).update(text)
    if (name === 'request') Object.assign(fields, objectOf(text))
    else if (Object.hasOwn(fields, name)) throw twice(name)
    else fields[name] = fieldOf(text, name, schema)
  }
  return { fields, parts, fingerprint: hash.digest('hex') }
}

/** Its parser has errors of its own for what is no form. */
async function* partsOf(request: FastifyRequest): AsyncGenerator<Multipart, void, undefined> {
  const parts = request.parts()
  for (;;) {
    const next = await ofForm(parts.next())
    if (next.done) return
    yield next.value
  }
}

async function ofForm<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    throw problemOf(error) ?? serverProblem('BAD_REQUEST', `The form cannot be read: ${problem}`)
  }
}

/** The part `request`: everything else as JSON. */
function objectOf(text: string): object {
  const value = parsed(text, 'request')
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw unprocessable('Expected an object in JSON for the part request', { name: 'request' })
}

/** Texts are what they are, all else is JSON. */
function fieldOf(text: string, name: string, schema: JsonSchema): unknown {
  const { properties = {} } = schema as { properties?: Readonly<Record<string, JsonSchema>> }
  const { type, enum: choices } = (Object.hasOwn(properties, name) && properties[name]) || {}
  return type === 'string' || choices !== undefined ? text : parsed(text, name)
}

function parsed(text: string, name: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
  } catch {
    throw unprocessable(`Expected JSON for the part ${name}`, { name })
  }
}

function twice(name: string) {
  return unprocessable(`The part ${name} comes twice`, { name })
}
