/** /v1/mixes */
import type { FastifyInstance } from 'fastify'

import type { Context } from '../context.js'
import { gone, serverProblem } from '../problem.js'
import type { EventStreams } from './events.js'
import { jobOf, jobRoutes } from './jobs.js'
import { sendPicture } from './pictures.js'
import { idParameter, pictureAnswer, problems } from './schemas.js'

export function mixRoutes(app: FastifyInstance, context: Context, streams: EventStreams): void {
  const path = '/v1/mixes'
  const links = (self: string) => ({ picture: `${self}/picture` })
  jobRoutes(app, context, streams, { kind: 'mix', path, links })

  app.get<{ Params: { id: string } }>(
    `${path}/:id/picture`,
    {
      schema: {
        tags: ['mixes'],
        summary: 'The picture of a mix; it carries its recipe',
        params: idParameter,
        response: {
          200: pictureAnswer,
          304: { description: 'As If-None-Match knows it', type: 'null' },
          ...problems(404, 406, 409, 410),
        },
      },
    },
    async (request, reply) => {
      const { id, status } = await jobOf(context, 'mix', request)
      if (status !== 'completed') {
        throw serverProblem('CONFLICT', `This mix is ${status}: it has no picture`, { status })
      }
      const picture = await context.jobs.blob(id, 'picture')
      if (!picture) throw gone('mix')
      return sendPicture(request, reply, picture, true)
    },
  )
}
