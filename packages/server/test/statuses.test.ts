/** /openapi.json says what the server does: every status that it documents is seen here, and nothing else. */
import assert from 'node:assert/strict'

import { Ajv2020 } from 'ajv/dist/2020.js'
import { MagicMix } from 'magicmix'
import { type MagicMixServer, createServer } from 'magicmix-server'

import { long, small } from './support/served.js'

interface OpenApi {
  paths: Record<string, Record<string, { responses: Record<string, OpenApiResponse> }>>
  components: { schemas: Record<string, object> }
}
interface OpenApiResponse {
  content?: Record<string, { schema: object }>
}

interface Sent {
  headers?: Record<string, string>
  payload?: unknown
}

/** What a test looks at of an answer. */
interface Seen {
  status: number
  text: string
  id: string
  code?: string | undefined
  error?: { code: string } | undefined
}

const json = { 'content-type': 'application/json' }
const vary = { nu: [0.2, 0.9] }

describe('the statuses of /openapi.json', () => {
  let mixer: MagicMix
  let server: MagicMixServer
  let document: OpenApi
  let ajv: Ajv2020
  const servers: MagicMixServer[] = []
  /** 'GET /v1/mixes/{id} 200' */
  const seen = new Set<string>()

  before(async () => {
    mixer = await MagicMix.load({ device: 'cpu', threads: 1 })
    server = await make({ limits: { ratePerMinute: 1e6, bodyBytes: 2048, streams: 1 } })
    document = (await server.app.inject('/openapi.json')).json()
    ajv = new Ajv2020({ strict: false })
    ajv.addFormat('date-time', (text) => !Number.isNaN(Date.parse(text)))
    ajv.addSchema({ $id: 'doc', ...document })
  })
  after(async () => {
    for (const each of servers) await each.close()
    await mixer.dispose()
  })

  async function make(options: Parameters<typeof createServer>[0]): Promise<MagicMixServer> {
    const made = await createServer({ mixer, ...options })
    servers.push(made)
    return made
  }

  /** Sends a request to a documented route, and holds the answer against what the document says. */
  async function send(
    to: MagicMixServer,
    route: string,
    jobId = 'none',
    { headers = {}, payload }: Sent = {},
  ): Promise<Seen> {
    const [method = '', path = ''] = route.split(' ')
    const url = path.replace('{id}', jobId).replace('{index}', '0')
    const isText = typeof payload === 'string' || payload === undefined
    const answer = await to.app.inject({
      method: method as 'GET',
      url,
      headers: { ...(payload === undefined ? {} : json), ...headers },
      ...(payload === undefined ? {} : { payload: isText ? payload : JSON.stringify(payload) }),
    })
    const { statusCode } = answer
    const documented = document.paths[path]?.[method.toLowerCase()]?.responses[statusCode]
    assert.ok(documented, `${route} answers ${statusCode}: ${answer.body.slice(0, 300)}`)
    const type = String(answer.headers['content-type'] ?? '').replace(/;.*/, '')
    const types = Object.keys(documented.content ?? {})
    assert.ok(types.length === 0 ? type === '' : types.includes(type), `${route}: ${type}`)
    if (type.endsWith('json')) {
      const pointer = [
        'paths',
        path,
        method.toLowerCase(),
        'responses',
        statusCode,
        'content',
        type,
      ]
      const escaped = pointer.map((each) =>
        String(each).replaceAll('~', '~0').replaceAll('/', '~1'),
      )
      const valid = ajv.validate({ $ref: `doc#/${escaped.join('/')}/schema` }, answer.json())
      assert.ok(valid, `${route} ${statusCode}: ${ajv.errorsText()} ${answer.body.slice(0, 500)}`)
    }
    seen.add(`${route} ${statusCode}`)
    const { id, code, error } = type.endsWith('json') ? answer.json<Seen>() : ({} as Seen)
    return { id, code, error, status: statusCode, text: answer.body }
  }

  const routes = () =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { responses }]) => ({
        route: `${method.toUpperCase()} ${path}`,
        statuses: Object.keys(responses),
      })),
    )

  it('is a document of OpenAPI 3.1', async () => {
    const { Validator } = await import('@seriousme/openapi-schema-validator')
    const { valid, errors } = await new Validator().validate(structuredClone({ ...document }))
    assert.ok(valid, JSON.stringify(errors))
    assert.match((document as unknown as { openapi: string }).openapi, /^3\.1/)
  })

  it('401 without the token, 403 for a foreign Host, 429 beyond the rate', async () => {
    const withToken = await make({ token: 'secret', limits: { ratePerMinute: 1e6 } })
    const slow = await make({ limits: { ratePerMinute: 1 } })
    for (const { route, statuses } of routes()) {
      if (statuses.includes('401')) {
        assert.equal((await send(withToken, route)).code, 'UNAUTHORIZED')
      }
      const foreign = { headers: { host: 'evil.example' } }
      assert.equal((await send(server, route, 'none', foreign)).code, 'FORBIDDEN_ORIGIN')
    }
    await slow.app.inject('/v1/models')
    for (const { route, statuses } of routes()) {
      if (!statuses.includes('429')) continue
      assert.equal((await send(slow, route)).code, 'RATE_LIMITED')
    }
  })

  for (const [kind, body] of [
    ['mix', small],
    ['sweep', { ...small, vary }],
  ] as const) {
    const path = kind === 'mix' ? '/v1/mixes' : '/v1/sweeps'
    const one = `${path}/{id}`
    const cell = '/v1/sweeps/{id}/cells/{index}/picture'
    const pictures = kind === 'mix' ? [`${one}/picture`] : [`${one}/sheet`, cell]

    it(`a ${kind} from its order to its end`, async () => {
      const { id, status } = await send(server, `POST ${path}`, '', { payload: body })
      assert.equal(status, 202)
      await send(server, `GET ${one}/events`, id)
      assert.equal((await send(server, `GET ${one}`, id)).status, 200)
      for (const picture of pictures) {
        const { text } = await send(server, `GET ${picture}`, id)
        assert.ok(text.length > 1000)
        await send(server, `GET ${picture}`, id, { headers: { 'if-none-match': '*' } })
        await send(server, `GET ${picture}`, id, { headers: { accept: 'text/html' } })
      }
      assert.equal((await send(server, `POST ${one}/cancel`, id)).code, 'CONFLICT')
      await send(server, `DELETE ${one}`, id)
      const rest = [`GET ${one}`, `GET ${one}/events`, `POST ${one}/cancel`, `DELETE ${one}`]
      for (const route of [...rest, ...pictures.map((picture) => `GET ${picture}`)]) {
        assert.equal((await send(server, route, id)).code, 'GONE')
        assert.equal((await send(server, route, 'none')).code, 'NOT_FOUND')
      }
    })

    it(`a ${kind} that is cancelled`, async () => {
      const payload = { ...body, ...long }
      const { id } = await send(server, `POST ${path}`, '', { payload })
      for (const picture of pictures) {
        assert.equal((await send(server, `GET ${picture}`, id)).code, 'CONFLICT')
      }
      assert.equal((await send(server, `POST ${one}/cancel`, id)).status, 202)
      await send(server, `GET ${one}/events`, id)
    })

    it(`a ${kind} that is refused`, async () => {
      const route = `POST ${path}`
      assert.equal((await send(server, route, '', { payload: '{' })).code, 'BAD_REQUEST')
      assert.equal((await send(server, route, '', { payload: {} })).code, 'INVALID_ARGUMENT')
      const large = { payload: { ...body, content: 'a'.repeat(3000) } }
      assert.equal((await send(server, route, '', large)).code, 'TOO_LARGE')
      const headers = { 'content-type': 'text/plain' }
      const text = { payload: 'a', headers }
      assert.equal((await send(server, route, '', text)).code, 'UNSUPPORTED_MEDIA_TYPE')
    })
  }

  it('a text that is cut into tokens, or refused', async () => {
    const route = 'POST /v1/tokenize'
    assert.equal((await send(server, route, '', { payload: { text: 'a cat' } })).status, 200)
    assert.equal((await send(server, route, '', { payload: '{' })).code, 'BAD_REQUEST')
    assert.equal((await send(server, route, '', { payload: {} })).code, 'INVALID_ARGUMENT')
    const other = { payload: { text: 'a', txt: 1 } }
    assert.equal((await send(server, route, '', other)).code, 'UNKNOWN_OPTION')
    const large = { payload: { text: 'a'.repeat(3000) } }
    assert.equal((await send(server, route, '', large)).code, 'TOO_LARGE')
    const text = { payload: 'a', headers: { 'content-type': 'text/plain' } }
    assert.equal((await send(server, route, '', text)).code, 'UNSUPPORTED_MEDIA_TYPE')
  })

  it('a recipe that is read out of a picture, or refused', async () => {
    const route = 'POST /v1/recipes'
    const roomy = await make({ limits: { ratePerMinute: 1e6 } })
    const mix = await mixer.mix({ ...small, width: 64, height: 64 })
    const bytesOf = (picture: Buffer) => ({
      payload: { picture: { bytes: picture.toString('base64') } },
    })
    const carrying = bytesOf(await mix.toBuffer({ format: 'png', recipe: true }))
    assert.equal((await send(roomy, route, '', carrying)).status, 200)
    const bare = bytesOf(await mix.toBuffer({ format: 'png', recipe: false }))
    assert.equal((await send(roomy, route, '', bare)).code, 'RECIPE_NOT_FOUND')
    const none = bytesOf(Buffer.from('no picture'))
    assert.equal((await send(roomy, route, '', none)).code, 'PICTURE_UNREADABLE')
    assert.equal((await send(server, route, '', carrying)).code, 'TOO_LARGE')
    assert.equal((await send(server, route, '', { payload: '{' })).code, 'BAD_REQUEST')
    assert.equal((await send(server, route, '', { payload: {} })).code, 'INVALID_ARGUMENT')
    const path = { payload: { picture: '/etc/hostname' } }
    assert.equal((await send(server, route, '', path)).code, 'INVALID_ARGUMENT')
    const other = { payload: { pictures: 1 } }
    assert.equal((await send(server, route, '', other)).code, 'UNKNOWN_OPTION')
    const text = { payload: 'a', headers: { 'content-type': 'text/plain' } }
    assert.equal((await send(server, route, '', text)).code, 'UNSUPPORTED_MEDIA_TYPE')
  })

  it('what there is to know', async () => {
    for (const path of ['models', 'devices', 'capabilities', 'workers'].map(
      (name) => `/v1/${name}`,
    )) {
      assert.equal((await send(server, `GET ${path}`)).status, 200)
    }
    for (const path of ['/health/live', '/health/ready', '/metrics']) {
      assert.equal((await send(server, `GET ${path}`)).status, 200)
    }
  })

  it('503 while it drains, and of a model that is gone', async () => {
    const ending = await make({ limits: { ratePerMinute: 1e6 } })
    const { id } = await send(ending, 'POST /v1/mixes', '', { payload: long })
    const waiting = await send(ending, 'POST /v1/mixes', '', { payload: small })
    const drained = ending.drain()
    for (const [route, payload] of [
      ['POST /v1/mixes', small],
      ['POST /v1/sweeps', { ...small, vary }],
    ] as const) {
      assert.equal((await send(ending, route, '', { payload })).code, 'DRAINING')
    }
    assert.equal((await send(ending, 'GET /health/ready')).status, 503)
    const refused = await send(ending, 'GET /v1/mixes/{id}', waiting.id)
    assert.equal(refused.error?.code, 'DRAINING')
    await send(ending, 'POST /v1/mixes/{id}/cancel', id)
    await drained

    await mixer.dispose()
    const gone = await send(server, 'POST /v1/tokenize', '', { payload: { text: 'a' } })
    assert.equal(gone.code, 'DISPOSED')
  })

  it('all of them', () => {
    const documented = routes().flatMap(({ route, statuses }) =>
      statuses.map((status) => `${route} ${status}`),
    )
    assert.ok(documented.length > 100, `${documented.length}`)
    assert.deepEqual(
      documented.filter((each) => !seen.has(each)),
      [],
    )
  })
})
