/** The page of problems: every example is the `detail` of an answer that some client gets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import { type MagicMixServer, type ProblemJson, createServer } from 'magicmix-server'

import { errorCodes } from '../../../dist/error-codes.js'
import { mixCodes } from '../dist/mix-codes.js'
import { problemCodes } from '../dist/problem-codes.js'
import type { ServerCode } from '../dist/problem.js'
import { lost } from '../dist/redis/redis-jobs.js'
import { RedisServer, needsRedis } from './support/redis.js'
import { long, small } from './support/served.js'

interface Answer {
  status: number
  type: string
  retryAfter: number | undefined
  problem: ProblemJson
}

/** Those that are not made here: where they are, and the `detail` as the code gives it. */
const notMade: Partial<Record<ServerCode, { why: string; detail: string }>> = {
  WORKER_LOST: {
    why: 'workers would have to die three times; redis-jobs.test.ts lets BullMQ believe that they did',
    detail: lost({ attempts: 3 }).message,
  },
}

describe("the table of the server's codes", () => {
  let mixer: MagicMix
  let server: MagicMixServer
  const servers: MagicMixServer[] = []

  before(async () => {
    mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
    server = await make()
  })
  after(async () => {
    for (const each of servers) await each.close()
    await mixer.dispose()
  })

  async function make(options: Parameters<typeof createServer>[0] = { mixer }) {
    const made = await createServer(options)
    servers.push(made)
    return made
  }

  async function send(
    { app }: MagicMixServer,
    route: string,
    payload?: object | string,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const [method = '', url = ''] = route.split(' ')
    const answer = await app.inject({
      ...{ method: method as 'GET', url },
      headers: {
        ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(payload === undefined ? {} : { payload }),
    })
    const { 'content-type': type, 'retry-after': retryAfter } = answer.headers
    return {
      status: answer.statusCode,
      type: String(type),
      retryAfter: retryAfter === undefined ? undefined : Number(retryAfter),
      problem: String(type).includes('json') ? answer.json<ProblemJson>() : ({} as ProblemJson),
    }
  }

  /** The id of a mix that was taken. */
  async function begun(at: MagicMixServer, request: object): Promise<string> {
    const { status, problem } = await send(at, 'POST /v1/mixes', request)
    assert.equal(status, 202)
    return (problem as unknown as { id: string }).id
  }

  /** What a socket gets that never ends its request. */
  async function neverEnding(): Promise<Answer> {
    const hurried = await make({ mixer, limits: { requestSeconds: 1 } })
    const { port } = new URL(await hurried.listen())
    const socket = connect(Number(port), '127.0.0.1')
    socket.write('POST /v1/mixes HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n')
    socket.write('content-type: application/json\r\n\r\n{')
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString()))
    await once(socket, 'close')
    const [head = '', body = ''] = text.split('\r\n\r\n')
    const [, status] = /^HTTP\/1\.1 (\d+)/.exec(head) ?? []
    const [, type = ''] = /^content-type: (.*)$/m.exec(head) ?? []
    return {
      ...{ status: Number(status), type: type.trim(), retryAfter: undefined },
      problem: JSON.parse(body) as ProblemJson,
    }
  }

  const made: Partial<Record<ServerCode, () => Promise<Answer>>> = {
    BAD_REQUEST: () => send(server, 'POST /v1/mixes', '{'),
    UNAUTHORIZED: async () => send(await make({ mixer, token: 'secret' }), 'GET /v1/models'),
    FORBIDDEN_ORIGIN: () =>
      send(server, 'GET /v1/models', undefined, { host: 'mixes.example.org' }),
    NOT_FOUND: () => send(server, 'GET /v1/mixes/none'),
    NOT_ACCEPTABLE: async () => {
      const id = await begun(server, small)
      await send(server, `GET /v1/mixes/${id}/events`) // to its end
      return send(server, `GET /v1/mixes/${id}/picture`, undefined, { accept: 'text/html' })
    },
    REQUEST_TIMEOUT: neverEnding,
    CONFLICT: async () => {
      const id = await begun(server, long)
      const answer = await send(server, `GET /v1/mixes/${id}/picture`)
      await send(server, `DELETE /v1/mixes/${id}`)
      return answer
    },
    GONE: async () => {
      const id = await begun(server, small)
      await send(server, `DELETE /v1/mixes/${id}`)
      return send(server, `GET /v1/mixes/${id}`)
    },
    TOO_LARGE: () => send(server, 'POST /v1/mixes', small, { 'content-length': '25165825' }),
    UNSUPPORTED_MEDIA_TYPE: () =>
      send(server, 'POST /v1/mixes', 'a heart', { 'content-type': 'text/plain' }),
    RATE_LIMITED: async () => {
      const strict = await make()
      for (let i = 0; i < 600; i++) await strict.app.inject('/v1/models')
      return send(strict, 'GET /v1/models')
    },
    DRAINING: async () => {
      const ending = await make()
      const id = await begun(ending, long)
      const drained = ending.drain()
      const answer = await send(ending, 'POST /v1/mixes', small)
      await send(ending, `POST /v1/mixes/${id}/cancel`)
      await drained
      return answer
    },
  }

  function check(code: ServerCode, { status, type, retryAfter, problem }: Answer): void {
    const { example, ...help } = problemCodes[code]
    assert.deepEqual([problem.code, problem.detail], [code, example])
    assert.deepEqual([status, problem.status], [help.status, help.status])
    assert.match(type, /^application\/problem\+json\b/)
    assert.equal(problem.type, `urn:magicmix:${code.toLowerCase().replaceAll('_', '-')}`)
    // The rate knows better how long it takes.
    if (code === 'RATE_LIMITED') assert.ok(retryAfter! > 0 && retryAfter! <= 60, `${retryAfter}`)
    else assert.equal(retryAfter, help.retryAfter)
  }

  for (const [code, make] of Object.entries(made)) {
    it(`has an example of ${code}`, async () => check(code as ServerCode, await make()))
  }

  for (const [code, { why, detail }] of Object.entries(notMade)) {
    it(`has an example of ${code}, which is not made here: ${why}`, () => {
      assert.equal(detail, problemCodes[code as ServerCode].example)
    })
  }

  describe('with Redis', function () {
    needsRedis(this)
    let redis: RedisServer
    let remote: MagicMixServer

    before(async () => {
      redis = await RedisServer.start()
      remote = await make({ redis: { url: redis.url, prefix: 'test-codes' } })
    })
    after(async () => {
      await remote?.close()
      await redis?.end()
    })

    it('has an example of NO_WORKER', async () =>
      check('NO_WORKER', await send(remote, 'POST /v1/mixes', small)))

    it('has an example of QUEUE_UNAVAILABLE, which is documented for every route of jobs', async () => {
      interface Document {
        paths: Record<
          string,
          Record<string, { responses: Record<string, { description: string }> }>
        >
      }
      const { paths } = (await remote.app.inject('/openapi.json')).json<Document>()
      await redis.kill()
      const routes = Object.entries(paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, { responses }]) => ({ method, path, responses })),
      )
      const ofJobs = routes.filter(({ path }) => /^\/v1\/(mixes|sweeps)\/\{id\}/.test(path))
      const answers = ofJobs.map(async ({ method, path, responses }) => {
        const url = path.replace('{id}', 'none').replace('{index}', '0')
        check('QUEUE_UNAVAILABLE', await send(remote, `${method.toUpperCase()} ${url}`))
        assert.match(responses[503]?.description ?? '', /\bQUEUE_UNAVAILABLE\b/)
      })
      await Promise.all(answers)
      assert.ok(answers.length > 8, `${answers.length}`)
    })
  })

  it('has no code that is neither made nor named', () => {
    const named = [...Object.keys(made), ...Object.keys(notMade), 'NO_WORKER', 'QUEUE_UNAVAILABLE']
    assert.deepEqual(Object.keys(problemCodes).sort(), named.sort())
  })

  it('comes with an answer for every code of magicmix', async () => {
    const wrong = {
      INVALID_ARGUMENT: { nu: 1.5 },
      UNKNOWN_OPTION: { kmin: 0.2 },
      PROMPT_TOO_LONG: { content: 'a very '.repeat(40) + 'long prompt' },
      PROMPT_SYNTAX: { content: 'a [heart:tiger:0.4', promptSyntax: 'a1111' },
      PHRASE_NOT_FOUND: { content: 'a photo of a tiger', attention: { lion: 1.4 } },
    }
    for (const [code, options] of Object.entries(wrong)) {
      const { status, problem } = await send(server, 'POST /v1/mixes', { ...small, ...options })
      const { example } = errorCodes[code as keyof typeof wrong]
      assert.deepEqual([status, problem.code, problem.detail], [422, code, example])
    }
    assert.deepEqual(Object.keys(mixCodes), Object.keys(errorCodes))
  })

  it('tells of this machine what is for clients, in every API', async () => {
    const models = { gone: { model: '/srv/gone.safetensors' } }
    const broken = await make({ models })
    const detail = "The model cannot be used (MODEL_NOT_FOUND); the server's log says why"
    const asked = await send(broken, 'POST /v1/tokenize', { text: 'a' })
    const { status, problem, retryAfter } = asked
    assert.deepEqual([status, problem.code, problem.detail], [503, 'MODEL_NOT_FOUND', detail])
    assert.equal(retryAfter, mixCodes.MODEL_NOT_FOUND.retryAfter)

    const waiting = await send(broken, 'POST /sdapi/v1/txt2img', { prompt: 'a photo of a lemon' })
    assert.equal(waiting.status, 503)
    const { error, detail: told } = waiting.problem as unknown as Record<string, string>
    assert.deepEqual([error, told], ['MODEL_NOT_FOUND', detail])

    // A model that nobody has is the request's fault.
    const other = await send(broken, 'POST /v1/mixes', { ...small, model: 'other' })
    assert.deepEqual([other.status, other.problem.code], [422, 'MODEL_NOT_FOUND'])
  })

  it('is what the page begins with', async () => {
    const page = path.join(__dirname, '../../../docs/reference/problems.md')
    const [, json = ''] = /```json\n(.*?)```/s.exec(await readFile(page, 'utf8')) ?? []
    const { problem } = await send(server, 'POST /v1/mixes', { ...small, nu: 1.5 })
    assert.deepEqual(JSON.parse(json), problem)
  })
})
