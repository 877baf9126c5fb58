/** Answers with a picture of a job. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { rewritePicture } from 'magicmix'
import sharp from 'sharp'

import type { Blob } from '../jobs/jobs.js'
import { pictureTypes, typeFor } from './formats.js'

/** @param hasRecipe that of a mix, which goes along into other formats */
export async function sendPicture(
  request: FastifyRequest,
  reply: FastifyReply,
  { bytes, hash }: Blob,
  hasRecipe: boolean,
): Promise<FastifyReply> {
  const type = typeFor(request.headers.accept)
  const format = pictureTypes[type]
  const etag = `"${hash}-${format}"`
  // To be asked for again each time: it may have been deleted.
  void reply.headers({ etag, vary: 'accept', 'cache-control': 'private, no-cache' })
  if (isKnown(request.headers['if-none-match'], etag)) return reply.code(304).send()
  const picture =
    format === 'png'
      ? bytes
      : hasRecipe
        ? await rewritePicture(bytes, format)
        : await sharp(bytes).toFormat(format).toBuffer()
  return reply.type(type).send(picture)
}

function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  const known = (ifNoneMatch ?? '').split(',').map((each) => each.trim().replace(/^W\//, ''))
  return known.includes(etag) || known.includes('*')
}
