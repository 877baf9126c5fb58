/** /v1/sweeps */
import type { FastifyInstance } from 'fastify'

import type { Context } from '../context.js'
import { type Blob, isFinished } from '../jobs/jobs.js'
import { notFound, serverProblem } from '../problem.js'
import type { EventStreams } from './events.js'
import { jobOf, jobRoutes } from './jobs.js'
import { sendPicture } from './pictures.js'
import { idParameter, pictureAnswer, problems } from './schemas.js'

export function sweepRoutes(app: FastifyInstance, context: Context, streams: EventStreams): void {
  const path = '/v1/sweeps'
  const links = (self: string) => ({ sheet: `${self}/sheet` })
  jobRoutes(app, context, streams, { kind: 'sweep', path, links })

  const response = {
    200: pictureAnswer,
    304: { description: 'As If-None-Match knows it', type: 'null' },
    ...problems(404, 406, 409, 410),
  }
  app.get<{ Params: { id: string } }>(
    `${path}/:id/sheet`,
    {
      schema: {
        tags: ['sweeps'],
        summary: 'All cells that are there, with the values of the varied options',
        params: idParameter,
        response,
      },
    },
    async (request, reply) => {
      const { id, status } = await jobOf(context, 'sweep', request)
      const sheet = await context.jobs.blob(id, 'sheet')
      return sendPicture(request, reply, there(sheet, 'sheet', status), false)
    },
  )

  app.get<{ Params: { id: string; index: string } }>(
    `${path}/:id/cells/:index/picture`,
    {
      schema: {
        tags: ['sweeps'],
        summary: 'The picture of a cell; it carries its recipe',
        params: {
          type: 'object',
          properties: { id: { type: 'string' }, index: { type: 'integer', minimum: 0 } },
          required: ['id', 'index'],
        },
        response,
      },
    },
    async (request, reply) => {
      const { id, status } = await jobOf(context, 'sweep', request)
      const { index } = request.params
      const cell = /^\d{1,4}$/.test(index)
        ? await context.jobs.blob(id, `cell/${Number(index)}`)
        : undefined
      return sendPicture(request, reply, there(cell, 'cell', status), true)
    },
  )
}

/** @throws Problem 409 for one that may still come, 404 for one that does not */
function there(
  blob: Blob | undefined,
  what: string,
  status: Parameters<typeof isFinished>[0],
): Blob {
  if (blob) return blob
  if (isFinished(status)) throw notFound(what)
  throw serverProblem('CONFLICT', `The ${what} is not there yet`, { status })
}
