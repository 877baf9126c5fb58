/** Whoever means harm: bodies, pictures, names, headers, and clients that take their time. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { crc32, gzipSync } from 'node:zlib'

import fc from 'fast-check'
import { requestSchema, sweepSchema } from 'magicmix'
import sharp from 'sharp'

import { anyBody, anyForm } from './support/any-body.js'
import { Client, type JsonJob, type Served, long, served, small } from './support/served.js'

describe('security', () => {
  let place: Served & { end(): Promise<void> }
  let client: Client
  before(async () => {
    place = await served({
      limits: { bodyBytes: 200_000, picturePixels: 1e6, streams: 2, queue: 3, requestSeconds: 1 },
    })
    client = new Client(place.address)
  })
  after(() => place.end())

  /** After whatever was tried. */
  afterEach(async () => {
    assert.equal((await client.send('GET', '/health/ready')).status, 200)
  })

  describe('pages of other origins', () => {
    for (const [headers, status] of [
      [{ host: 'localhost' }, 200],
      [{ host: '127.0.0.1:80' }, 200],
      [{ host: '[::1]:8080' }, 200],
      [{ host: '192.168.1.7:7860' }, 200],
      [{ host: 'evil.example' }, 403],
      [{ host: 'localhost.evil.example' }, 403],
      [{ host: '127.0.0.1.evil.example:80' }, 403],
      [{ host: 'localhost@evil.example' }, 403],
      [{ host: 'localhost:8080', origin: 'http://localhost:8080' }, 200],
      [{ host: 'localhost:8080', origin: 'http://localhost:3000' }, 403],
      [{ host: 'localhost', origin: 'http://evil.example' }, 403],
      [{ host: 'localhost', origin: 'null' }, 403],
      [{ host: 'localhost', 'sec-fetch-site': 'same-origin' }, 200],
      [{ host: 'localhost', 'sec-fetch-site': 'none' }, 200],
      [{ host: 'localhost', 'sec-fetch-site': 'cross-site' }, 403],
      [{ host: 'localhost', 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' }, 403],
      [{ host: 'localhost', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, 200],
    ] as const) {
      it(`${JSON.stringify(headers)}: ${status}`, async () => {
        const { app } = place.server
        const got = await app.inject({ url: '/v1/models', headers })
        assert.equal(got.statusCode, status)
        assert.equal(got.headers['access-control-allow-origin'], undefined)
        // Nothing is done either.
        const posted = await app.inject({
          ...{ method: 'POST', url: '/v1/tokenize', headers, payload: { text: 'a' } },
        })
        const navigates = 'sec-fetch-mode' in headers
        assert.equal(posted.statusCode, navigates ? 403 : status)
      })
    }

    it('a preflight is answered with nothing that would let it pass', async () => {
      const { headers, statusCode } = await place.server.app.inject({
        ...{ method: 'OPTIONS', url: '/v1/mixes' },
        headers: { origin: 'http://evil.example', 'access-control-request-method': 'POST' },
      })
      assert.equal(statusCode, 403)
      assert.equal(headers['access-control-allow-origin'], undefined)
    })
  })

  it('ids lead nowhere else', async () => {
    for (const id of [
      ...[
        '..%2f..%2fetc%2fpasswd',
        '%2e%2e',
        '..',
        '__proto__',
        'constructor',
        '%00',
        'a'.repeat(5000),
      ],
      ...['mix_..%2f', '%E0%A4%A', 'mix_%0a', '*'],
    ]) {
      for (const rest of ['', '/picture', '/events']) {
        const { status, body } = await client.send('GET', `/v1/mixes/${id}${rest}`)
        assert.ok([400, 404].includes(status), `${id}${rest}: ${status}`)
        assert.equal(body.status, status, `${id.slice(0, 20)}${rest} is no problem of ours`)
      }
    }
  })

  it('nothing is read that a client names', async () => {
    for (const layout of [
      ...[
        '/etc/passwd',
        'file:///etc/passwd',
        'http://127.0.0.1:1/a.png',
        'data:image/png;base64,AA',
      ],
      ...[{ path: '/etc/passwd' }, { path: 'a', bytes: 'AAAA' }, { bytes: 'AAAA', path: 'a' }],
      ...[{ href: 'file:///etc/passwd', protocol: 'file:' }, null, 7, [], ['/etc/passwd'], {}],
      ...[{ prompt: 'a', path: '/etc/passwd' }, { bytes: { path: '/etc/passwd' } }],
    ]) {
      const { status, body } = await client.send('POST', '/v1/mixes', { ...small, layout })
      assert.deepEqual([status, body.code], [422, 'INVALID_ARGUMENT'], JSON.stringify(layout))
    }
  })

  it('every text of a request is a prompt, a colour or a choice, or it is known to name a file', () => {
    const known = [
      ...['content', 'negativePrompt', 'background', 'attention.text', 'interpolate.prompt'],
      ...['layout.prompt', 'layout.bytes', 'layout.sha256', 'layout.data'],
    ]
    const free = [requestSchema, sweepSchema].flatMap((schema) => freeTexts(schema, []))
    const names = new Set(free.map((path) => path.replace(/^vary\./, '')))
    // A new option with a text: does it name a file? Then its schema has to say so (x-names-file).
    assert.deepEqual(
      [...names].filter((name) => !known.includes(name)),
      [],
    )
  })

  describe('bodies', () => {
    it('that are too large: 413, whether they say so or not', async () => {
      const large = { ...small, content: 'a'.repeat(300_000) }
      assert.equal((await client.send('POST', '/v1/mixes', large)).status, 413)
      const text = JSON.stringify(large)
      const chunks = async function* () {
        for (let i = 0; i < text.length; i += 50_000) {
          yield Buffer.from(text.slice(i, i + 50_000))
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
      }
      const response = await fetch(`${place.address}/v1/mixes`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: chunks(),
        duplex: 'half',
      }).catch(() => undefined) // or the connection is closed while it is sent
      assert.ok(response === undefined || response.status === 413)
    })

    it('of many parts that are too large together: 413', async () => {
      const form = new FormData()
      for (let i = 0; i < 5; i++) form.append('layout', new Blob([Buffer.alloc(50_000)]), 'a.png')
      assert.equal((await client.send('POST', '/v1/mixes', form)).status, 413)
      const many = new FormData()
      for (let i = 0; i < 200; i++) many.append(`a${i}`, '1')
      assert.equal((await client.send('POST', '/v1/mixes', many)).status, 413)
    })

    it('that are too much together: 429, until others have come', async () => {
      const small = await served({ limits: { bodyBytes: 100_000, queueBytes: 150_000 } })
      const port = Number(new URL(small.address).port)
      const slow = connect(port, '127.0.0.1')
      slow.write('POST /v1/tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: 90000\r\n')
      slow.write('content-type: application/json\r\n\r\n{')
      const other = new Client(small.address)
      const text = JSON.stringify({ text: 'a'.repeat(80_000) })
      const status = async () => (await other.send('POST', '/v1/tokenize', text)).status
      await eventually(async () => assert.equal(await status(), 429))
      slow.destroy()
      await eventually(async () => assert.equal(await status(), 422))
      await small.end()
    })

    it('that are compressed: 415', async () => {
      const { app } = place.server
      const { statusCode } = await app.inject({
        ...{ method: 'POST', url: '/v1/mixes', payload: gzipSync(JSON.stringify(small)) },
        headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      })
      assert.equal(statusCode, 415)
    })

    it('that are deep, or are no JSON: 4xx', async () => {
      for (const text of [
        '['.repeat(100_000),
        '{"a":'.repeat(20_000),
        `{"layout":${'['.repeat(50_000)}${']'.repeat(50_000)},"content":"a"}`,
        `{"content":"a","attention":${'['.repeat(50_000)}${']'.repeat(50_000)},"layout":{"prompt":"a"}}`,
        `{"content":"a","vary":${'{"nu":'.repeat(9_000)}1${'}'.repeat(9_000)},"layout":{"prompt":"a"}}`,
        '{"__proto__":{"model":"x"}}',
        '{"constructor":{"prototype":{}}}',
        '\u0000',
        '',
        'null',
        '"a"',
        '{"layout":{"prompt":"\ud800"},"content":"\ud800","steps":1e999}',
      ]) {
        for (const path of ['/v1/mixes', '/v1/sweeps', '/v1/tokenize']) {
          const { status } = await client.send('POST', path, text, {
            'content-type': 'application/json',
          })
          assert.ok(status >= 400 && status < 500, `${path} ${status}: ${text.slice(0, 60)}`)
        }
      }
    })

    it('of any kind: no crash, no 500', async () => {
      const runs = Number(process.env.MAGICMIX_FUZZ_RUNS ?? 2000)
      let accepted = 0
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('mixes', 'sweeps', 'tokenize'),
          anyBody,
          async (to, body) => {
            const answer = await place.server.app.inject({
              ...{ method: 'POST', url: `/v1/${to}`, payload: body },
              headers: { 'content-type': 'application/json' },
            })
            assert.ok(answer.statusCode < 500, `${answer.statusCode}: ${answer.body}`)
            if (answer.statusCode === 202) {
              accepted++
              const { links } = answer.json<JsonJob>()
              await place.server.app.inject({ method: 'DELETE', url: links.self ?? '' })
            }
          },
        ),
        { numRuns: runs, ...(process.env.MAGICMIX_FUZZ_RUNS ? {} : { seed: 1 }) },
      )
      // Else the fuzzer would see the first check alone.
      assert.ok(accepted > runs / 200, `${accepted} of ${runs} were taken`)
    })
  })

  it('forms of any kind: no crash, no 500', async () => {
    const statuses = new Set<number>()
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('mixes', 'sweeps', 'tokenize'),
        anyForm,
        async (to, form) => {
          const { statusCode, body } = await place.server.app.inject({
            ...{ method: 'POST', url: `/v1/${to}`, payload: form.body },
            headers: { 'content-type': form.type },
          })
          assert.ok(statusCode < 500, `${statusCode}: ${body}`)
          statuses.add(statusCode)
          if (statusCode !== 202) return
          const { links } = JSON.parse(body) as JsonJob
          await place.server.app.inject({ method: 'DELETE', url: links.self ?? '' })
        },
      ),
      { numRuns: Number(process.env.MAGICMIX_FUZZ_RUNS ?? 500), endOnFailure: true },
    )
    assert.ok(
      [200, 400, 415, 422].every((status) => statuses.has(status)),
      [...statuses].join(),
    )
  })

  describe('pictures', () => {
    it('of too many pixels are refused by their header', async () => {
      // 20000 x 20000 in some hundred kilobytes, which would be 1.2 GB.
      const png = pngOfSize(20_000, 20_000)
      const bomb = await client.send('POST', '/v1/mixes', {
        ...{ ...small, layout: { bytes: png.toString('base64') } },
      })
      assert.deepEqual([bomb.status, bomb.body.code], [422, 'PICTURE_UNREADABLE'])
      const raw = { data: 'AAAA', width: 30_000, height: 30_000, channels: 3 }
      const pixels = await client.send('POST', '/v1/mixes', { ...small, layout: raw })
      assert.equal(pixels.status, 422)
    })

    it('in SVG, which may take any time, are none', async () => {
      for (const svg of [
        '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
      ]) {
        const form = new FormData()
        form.set('layout', new Blob([svg]), 'a.png')
        form.set('content', 'a cat')
        const { status, body } = await client.send('POST', '/v1/mixes', form)
        assert.deepEqual([status, body.code], [422, 'PICTURE_UNREADABLE'])
      }
    })

    it('that are damaged are refused, or fail as a job', async () => {
      const png = await sharp({
        create: { width: 64, height: 64, channels: 3, background: 'red' },
      })
        .png()
        .toBuffer()
      for (const bytes of [png.subarray(0, 40), png.subarray(0, 80), Buffer.alloc(9)]) {
        const layout = { bytes: bytes.toString('base64') }
        const { status, body } = await client.send<JsonJob>('POST', '/v1/mixes', {
          ...{ ...small, layout },
        })
        if (status === 422) continue
        assert.equal(status, 202)
        const { error } = await client.finish(body)
        assert.equal(error?.code, 'PICTURE_UNREADABLE')
      }
    })

    it('in parts of other names are refused', async () => {
      for (const name of ['content', 'loras', 'constructor', 'request']) {
        const form = new FormData()
        form.set(name, new Blob(['a']), 'a.png')
        const { status } = await client.send('POST', '/v1/mixes', form)
        assert.ok(status === 422 || status === 400, `${name}: ${status}`)
      }
    })
  })

  describe('clients that take their time', () => {
    it('to send a request: 408, and the connection is closed', async () => {
      const socket = connect(Number(new URL(place.address).port), '127.0.0.1')
      socket.write('POST /v1/mixes HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n')
      socket.write('content-type: application/json\r\n\r\n{')
      const timer = setInterval(() => socket.write(' '), 200)
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString()))
      socket.on('error', () => {})
      await once(socket, 'close')
      clearInterval(timer)
      assert.match(text, /^HTTP\/1\.1 408 .*"code":"REQUEST_TIMEOUT"/s)
    }).timeout(60_000)

    it('that speak no HTTP: 400', async () => {
      const socket = connect(Number(new URL(place.address).port), '127.0.0.1')
      socket.write('\x16\x03\x01\r\n\r\n')
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString()))
      await once(socket, 'close')
      assert.match(text, /^HTTP\/1\.1 400 .*"code":"BAD_REQUEST"/s)
    })

    it('to read events: others are not kept waiting, and too many streams are refused', async () => {
      const job = await client.submit('/v1/mixes', long)
      const url = `${place.address}${job.links.events}`
      const controller = new AbortController()
      for (let i = 0; i < 2; i++) await fetch(url, { signal: controller.signal }) // not read
      const third = await client.send('GET', job.links.events ?? '')
      assert.deepEqual([third.status, third.body.code], [429, 'RATE_LIMITED'])
      assert.ok(Number(third.headers.get('retry-after')) > 0)
      controller.abort()
      await client.send('DELETE', job.links.self ?? '')
      await eventually(async () => {
        const { text } = (await client.send<{ text: string }>('GET', '/metrics')).body
        assert.match(text, /^magicmix_event_streams 0$/m)
      })
    })
  })

  it('a full queue: 429 with Retry-After', async () => {
    const jobs = []
    for (let i = 0; i < 4; i++) jobs.push(await client.submit('/v1/mixes', long))
    const { status, body, headers } = await client.send('POST', '/v1/mixes', small)
    assert.deepEqual([status, body.code], [429, 'QUEUE_FULL'])
    assert.ok(Number(headers.get('retry-after')) > 0)
    for (const { links } of jobs) await client.send('DELETE', links.self ?? '')
  })
})

/** What comes true within some seconds. */
async function eventually(check: () => Promise<void>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    try {
      return await check()
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  await check()
}

/** Where a schema has a text that may be anything. */
function freeTexts(schema: unknown, path: readonly string[]): string[] {
  if (Array.isArray(schema)) return schema.flatMap((each) => freeTexts(each, path))
  if (typeof schema !== 'object' || schema === null) return []
  const { type, properties, ...rest } = schema as Record<string, unknown>
  if ('x-names-file' in rest || 'enum' in rest) return []
  if (type === 'string') return [path.join('.')]
  const within = Object.entries(properties ?? {}).flatMap(([name, each]) =>
    freeTexts(each, [...path, name]),
  )
  const others = ['anyOf', 'oneOf', 'items', 'additionalProperties']
  return [...within, ...others.flatMap((name) => freeTexts(rest[name], path))]
}

/** The header of a PNG of that size, and nothing in it. */
function pngOfSize(width: number, height: number): Buffer {
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  )
  png.writeUInt32BE(width, 16)
  png.writeUInt32BE(height, 20)
  return withCrc(png)
}

function withCrc(png: Buffer): Buffer {
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29)
  return png
}
