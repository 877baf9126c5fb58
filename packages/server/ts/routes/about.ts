/** What this server is and has: /v1/models, /v1/devices, /v1/capabilities, /v1/tokenize. */
import type { FastifyInstance } from 'fastify'
import { type MagicMix, devices } from 'magicmix'

import type { Context } from '../context.js'
import { readBody } from '../request/body.js'
import { Problem, unprocessable } from '../problem.js'
import { versions } from '../version.js'
import { pictureTypes } from './formats.js'
import { json, object, problems } from './schemas.js'

const anyObject = { type: 'object', additionalProperties: true }
const text = { type: 'string' }
const flag = { type: 'boolean' }

const tokenizeSchema = {
  ...object({ text: { type: 'string', maxLength: 1000 }, model: text }, ['model']),
  title: 'TokenizeRequest',
}

export function aboutRoutes(app: FastifyInstance, context: Context): void {
  const { models, limits, schemas, guard } = context
  const started = Math.floor(Date.now() / 1000)

  app.get(
    '/v1/models',
    {
      schema: {
        tags: ['about'],
        summary:
          'The models, in the form of a list of OpenAI; what is known of one once it was loaded',
        response: {
          200: json(
            'Models',
            object({
              object: { const: 'list' },
              data: {
                type: 'array',
                items: object({
                  id: text,
                  object: { const: 'model' },
                  created: { type: 'integer' },
                  owned_by: text,
                  isDefault: flag,
                  isLoaded: flag,
                  info: { anyOf: [anyObject, { type: 'null' }] },
                }),
              },
            }),
          ),
          ...problems(),
        },
      },
    },
    () => ({
      object: 'list',
      data: models.describe().map(({ name, isDefault, isLoaded, info }) => ({
        ...{ id: name, object: 'model', created: started, owned_by: 'magicmix' },
        ...{ isDefault, isLoaded, info: info && infoOf(info) },
      })),
    }),
  )

  app.get(
    '/v1/devices',
    {
      schema: {
        tags: ['about'],
        summary: 'The devices of this machine, and why others cannot be used',
        response: {
          200: json('Devices', object({ devices: { type: 'array', items: anyObject } })),
          ...problems(),
        },
      },
    },
    async () => ({ devices: await devices() }),
  )

  app.get(
    '/v1/capabilities',
    {
      schema: {
        tags: ['about'],
        summary: 'Versions, limits, formats, and the schemas of requests',
        response: {
          200: json(
            'Capabilities',
            object({
              ...{
                versions: anyObject,
                limits: anyObject,
                formats: { type: 'array', items: text },
              },
              ...{
                pictures: { type: 'array', items: text },
                loras: { type: 'array', items: text },
              },
              requests: object({ mix: anyObject, sweep: anyObject }),
            }),
          ),
          ...problems(),
        },
      },
    },
    () => ({
      versions,
      limits,
      formats: Object.keys(pictureTypes),
      pictures: guard.pictures,
      loras: context.loras,
      requests: schemas,
    }),
  )

  app.post(
    '/v1/tokenize',
    {
      schema: {
        tags: ['about'],
        summary:
          'How a text is cut into tokens, begin and end of text included; a prompt fits if they are at most 77',
        body: { required: true, content: { 'application/json': { schema: tokenizeSchema } } },
        response: {
          200: json(
            'Tokens',
            object({
              tokens: { type: 'array', items: anyObject },
              fits: flag,
              maxTokens: { const: 77 },
            }),
          ),
          ...problems(400, 413, 415, 422, 503),
        },
      },
    },
    async (request) => {
      const { fields } = await readBody(request, tokenizeSchema, limits.bodyBytes)
      const { text, model = models.byDefault, ...others } = fields
      for (const name of Object.keys(others)) {
        throw new Problem(422, 'UNKNOWN_OPTION', `tokenize has no option '${name}'`, {
          option: name,
        })
      }
      if (typeof text !== 'string')
        throw unprocessable('Expected a string for text', { name: 'text' })
      if (typeof model !== 'string')
        throw unprocessable('Expected a name for model', { name: 'model' })
      const signal = request.signal ?? new AbortController().signal
      const tokens = await models.tokenize(model, text, signal)
      return { tokens, fits: tokens.length <= 77, maxTokens: 77 }
    },
  )
}

/** Without the places of files. */
function infoOf(info: MagicMix['model']): Record<string, unknown> {
  const { path, ...rest } = info as MagicMix['model'] & { path?: string }
  return rest
}
