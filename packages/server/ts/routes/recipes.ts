/** /v1/recipes: how a picture was made, read out of the picture. */
import type { FastifyInstance } from 'fastify'
import { readRecipe } from 'magicmix'

import type { Context } from '../context.js'
import { Problem, unprocessable } from '../problem.js'
import { type Body, readBody } from '../request/body.js'
import { checkPicture, withBuffers } from '../request/pictures.js'
import { json, object, problems } from './schemas.js'

const anyObject = { type: 'object', additionalProperties: true }
const encoded = { type: 'string', contentEncoding: 'base64', minLength: 1 }
const bodySchema = { ...object({ picture: object({ bytes: encoded }) }), title: 'RecipeRequest' }
const formSchema = object({
  picture: { type: 'string', contentMediaType: 'application/octet-stream' },
})

export function recipeRoutes(app: FastifyInstance, { limits }: Context): void {
  app.post(
    '/v1/recipes',
    {
      schema: {
        tags: ['about'],
        summary: 'The recipe that a picture carries: it may be changed and sent to /v1/mixes',
        body: {
          required: true,
          content: {
            'application/json': { schema: bodySchema },
            'multipart/form-data': { schema: formSchema },
          },
        },
        response: {
          200: json(
            'The recipe: the request with every default filled in, and what it was made with',
            object({
              request: anyObject,
              layout: { anyOf: [anyObject, { type: 'null' }] },
              pictures: anyObject,
              ...{ model: anyObject, made: anyObject },
            }),
          ),
          ...problems(400, 413, 415, 422),
        },
      },
    },
    async (request) => {
      const bytes = pictureIn(await readBody(request, bodySchema, limits.bodyBytes))
      await checkPicture({ name: 'picture', bytes }, limits)
      return readRecipe(bytes)
    },
  )
}

function pictureIn({ fields, parts }: Body): Buffer {
  const { picture, ...others } = { ...fields, ...parts } as Record<string, unknown>
  for (const name of Object.keys(others)) {
    throw new Problem(422, 'UNKNOWN_OPTION', `recipes has no option '${name}'`, { option: name })
  }
  const [only, ...more] = [picture].flat()
  const bytes = withBuffers(only, 'picture')
  if (Buffer.isBuffer(bytes) && more.length === 0) return bytes
  throw unprocessable('Expected one picture, as a part or as { bytes }, for picture', {
    name: 'picture',
  })
}
