/** The tools of MCP: mix, sweep, tokenize, inspect. */
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import {
  CallToolRequestSchema,
  type CallToolResult,
  ListToolsRequestSchema,
  type ServerNotification,
  type ServerRequest,
  type Tool,
} from '@modelcontextprotocol/sdk/types.js'
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js'
import { readRecipe } from 'magicmix'

import type { Context } from '../context.js'
import type { JobKind } from '../jobs/jobs.js'
import { Problem, bug, problemOf, serverProblem, unprocessable } from '../problem.js'
import { checkPicture, withBuffers } from '../request/pictures.js'
import { submit } from '../request/submit.js'
import { versions } from '../version.js'
import type { Folder } from './folder.js'

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>
type Fields = Record<string, unknown>
type Handler = (args: Fields, extra: Extra) => Promise<CallToolResult>

interface Offered {
  tool: Tool
  call: Handler
}

const base64 = { type: 'string', contentEncoding: 'base64', description: 'a picture, in base64' }

/**
 * A server of MCP, without a transport.
 *
 * @param folder where a tool may name pictures; undefined: nowhere
 */
export function mcpServer(context: Context, folder?: Folder): Server {
  const server = new Server(
    { name: 'magicmix', version: versions.server },
    { capabilities: { tools: {} } },
  )
  const offered = [
    jobTool(
      context,
      folder,
      'mix',
      'Mixes the meaning of `content` into the layout of `layout`: one picture',
    ),
    jobTool(
      context,
      folder,
      'sweep',
      'Mixes with several values of up to three options: a sheet of pictures',
    ),
    tokenizeTool(context),
    inspectTool(context, folder),
  ]
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: offered.map(({ tool }) => tool),
  }))
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const { name, arguments: args = {} } = params
    const found = offered.find(({ tool }) => tool.name === name)
    try {
      if (!found) throw serverProblem('NOT_FOUND', `There is no tool ${name}`)
      return await found.call(args, extra)
    } catch (error) {
      extra.signal.throwIfAborted()
      return refused(error)
    }
  })
  return server
}

/** What a model reads of an error, so that it can do better. */
function refused(error: unknown): CallToolResult {
  const problem = problemOf(error) ?? bug()
  return { isError: true, content: [textOf(`${problem.code}: ${problem.message}`)] }
}

function jobTool(
  context: Context,
  folder: Folder | undefined,
  kind: JobKind,
  description: string,
): Offered {
  // Many programs take no rules above the properties; what is missing `mix` says.
  const { properties, required, allOf, ...rest } = context.schemas[kind] as Fields
  const layoutFile = { type: 'string', description: 'a picture for `layout`, by its name' }
  const inputSchema = {
    ...rest,
    properties: { ...(properties as Fields), ...(folder ? { layoutFile } : {}) },
    ...(required === undefined ? {} : { required }),
    type: 'object',
  }
  const call: Handler = async ({ layoutFile, ...fields }, extra) => {
    const parts: Record<string, Buffer[]> = {}
    if (layoutFile !== undefined) parts.layout = [await read(folder, layoutFile, 'layoutFile')]
    const { job } = await submit(context, { kind, fields, parts, fingerprint: '' })
    const { result, model } = await worked(context, job.id, extra)
    const name = kind === 'mix' ? 'picture' : 'sheet'
    const picture = await context.jobs.blob(job.id, name)
    if (!picture) throw serverProblem('GONE', 'It was deleted')
    const told = JSON.stringify({ id: job.id, model, ...withoutRecipe(result) })
    const data = picture.bytes.toString('base64')
    return { content: [{ type: 'image', data, mimeType: 'image/png' }, textOf(told)] }
  }
  return {
    tool: { name: kind, description, inputSchema: inputSchema as Tool['inputSchema'] },
    call,
  }
}

/** To the end of a job, with its progress for a client that has asked for that. */
async function worked({ jobs, closing }: Context, id: string, extra: Extra) {
  const { signal, sendNotification } = extra
  const progressToken = extra._meta?.progressToken
  let progress = 0
  try {
    for await (const { event, data } of jobs.events(id, 0, AbortSignal.any([signal, closing]))) {
      if (progressToken === undefined || event !== 'progress') continue
      const { stage, step, steps } = data as Partial<Record<string, string | number>>
      const message = step === undefined ? `${stage}` : `${stage}, step ${step} of ${steps}`
      // It has to rise, whatever a step is.
      const params = { progressToken, progress: ++progress, message }
      await sendNotification({ method: 'notifications/progress', params })
    }
    signal.throwIfAborted()
  } catch (error) {
    await jobs.cancel(id)
    throw error
  }
  const job = await jobs.get(id)
  if (job === undefined || job === 'gone') throw serverProblem('GONE', 'It was deleted')
  if (job.error) throw new Problem(422, job.error.code, job.error.message)
  if (job.status !== 'completed') throw serverProblem('CONFLICT', `It is ${job.status}`)
  return job
}

function tokenizeTool({ models }: Context): Offered {
  const tool = {
    name: 'tokenize',
    description: 'How a prompt is cut into tokens, begin and end included: at most 77 fit',
    inputSchema: {
      type: 'object' as const,
      properties: {
        text: { type: 'string', maxLength: 1000 },
        model: { type: 'string', description: 'name of the model' },
      },
      required: ['text'],
      additionalProperties: false,
    },
  }
  const call: Handler = async ({ text, model = models.byDefault }, { signal }) => {
    if (typeof text !== 'string')
      throw unprocessable('Expected a string for text', { name: 'text' })
    if (typeof model !== 'string')
      throw unprocessable('Expected a name for model', { name: 'model' })
    const tokens = await models.tokenize(model, text, signal)
    return { content: [textOf(JSON.stringify({ tokens, fits: tokens.length <= 77 }))] }
  }
  return { tool, call }
}

function inspectTool(context: Context, folder: Folder | undefined): Offered {
  const file = { type: 'string', description: 'the picture, by its name' }
  const tool = {
    name: 'inspect',
    description: 'The recipe that a picture of ours carries: how to make it again',
    inputSchema: {
      type: 'object' as const,
      properties: { picture: base64, ...(folder ? { file } : {}) },
      required: folder ? [] : ['picture'],
      additionalProperties: false,
    },
  }
  const call: Handler = async ({ picture, file }) => {
    const bytes =
      picture === undefined && file !== undefined
        ? await read(folder, file, 'file')
        : withBuffers({ bytes: picture }, 'picture')
    if (!Buffer.isBuffer(bytes)) {
      throw unprocessable('Expected a picture in base64 for picture', { name: 'picture' })
    }
    await checkPicture({ name: 'picture', bytes }, context.limits)
    return { content: [textOf(JSON.stringify(await readRecipe(bytes)))] }
  }
  return { tool, call }
}

/** @throws Problem where tools name no files, as over HTTP */
async function read(folder: Folder | undefined, name: unknown, option: string): Promise<Buffer> {
  if (!folder) throw unprocessable(`${option} is not offered here`, { name: option })
  return folder.read(name, option)
}

function withoutRecipe(result: Fields | null): Fields {
  const { recipe, timings, ...rest } = result ?? {}
  return rest
}

const textOf = (text: string) => ({ type: 'text' as const, text })
