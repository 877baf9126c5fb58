/** Bodies of any kind for the APIs of others: no crash, no 500. */
import assert from 'node:assert/strict'

import fc from 'fast-check'
import { MemoryJobs } from 'magicmix-server'

import { type Served, served } from './support/served.js'

/** As a picture that was made, and one that comes in. */
const pixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(pixel, `data:image/png;base64,${pixel}`, [pixel], 'auto', '128x128'),
  fc.constantFrom<unknown>(
    0,
    1,
    -1,
    2,
    0.5,
    true,
    false,
    null,
    'png',
    'Euler a',
    'karras',
    'a cat',
  ),
  fc.constantFrom<unknown>({ magicmix: { args: [{ nu: 0.5 }] } }, { kMin: 0.1, seed: 3 }, []),
)

/** Some fields of those, some right and some not. */
function bodyOf(names: readonly string[]): fc.Arbitrary<object> {
  const fields = fc.dictionary(fc.constantFrom(...names, '__proto__', 'nope'), value, {
    maxKeys: 5,
  })
  return fields.map((given) => ({ prompt: 'a photo of a lemon', ...given }))
}

const common = ['prompt', 'seed', 'steps', 'width', 'height', 'n', 'size']
const apis = {
  '/v1/images/generations': bodyOf([
    ...[...common, 'model', 'layout', 'magicmix', 'response_format', 'output_format', 'quality'],
    ...['stream', 'partial_images', 'background', 'user', 'style', 'output_compression'],
  ]),
  '/v1/images/edits': bodyOf([...common, 'image', 'mask', 'magicmix']),
  '/sdapi/v1/txt2img': bodyOf([
    ...[...common, 'negative_prompt', 'cfg_scale', 'sampler_name', 'scheduler', 'batch_size'],
    ...['n_iter', 'alwayson_scripts', 'override_settings', 'styles', 'tiling', 'enable_hr', 'eta'],
  ]),
  '/sdapi/v1/img2img': bodyOf([
    ...[...common, 'init_images', 'denoising_strength', 'resize_mode', 'mask', 'inpainting_fill'],
    'inpainting_mask_invert',
  ]),
  '/sdapi/v1/png-info': fc.record({ image: value }),
  '/sdapi/v1/interrupt': fc.anything().map((any) => ({ any: JSON.stringify(any) })),
  '/mcp': fc.record(
    {
      jsonrpc: fc.oneof(fc.constant('2.0'), value),
      id: value,
      method: fc.oneof(fc.constantFrom('tools/call', 'tools/list', 'initialize', 'ping'), value),
      params: fc.oneof(
        fc.record({ name: fc.constantFrom('mix', 'inspect', 'tokenize', 'x'), arguments: value }),
        value,
      ),
    },
    { requiredKeys: [] },
  ),
}

describe('the APIs of others', () => {
  let place: Served & { end(): Promise<void> }
  before(async () => {
    const picture = Buffer.from(pixel, 'base64')
    place = await served({
      // Quick, as fuzzing wants it.
      jobs: (given) =>
        new MemoryJobs({
          ...given,
          work: (order, report) => {
            report.blob('picture', picture)
            report.result({ width: 1, height: 1, seed: 1, recipe: { request: order.request } })
            return Promise.resolve()
          },
        }),
    })
  })
  after(() => place.end())

  for (const [url, body] of Object.entries(apis)) {
    it(`bodies of any kind to ${url}: no crash, no 500`, async () => {
      const statuses = new Set<number>()
      await fc.assert(
        fc.asyncProperty(fc.oneof({ weight: 9, arbitrary: body }, value), async (payload) => {
          const answer = await place.server.app.inject({
            ...{ method: 'POST', url, payload: JSON.stringify(payload) },
            headers: {
              'content-type': 'application/json',
              accept: 'application/json, text/event-stream',
            },
          })
          assert.ok(answer.statusCode < 500, `${answer.statusCode}: ${answer.body}`)
          statuses.add(answer.statusCode)
        }),
        { numRuns: 150, seed: 1 },
      )
      // Else it would see the first check alone.
      const mayWork = !url.endsWith('edits') // it wants a form
      assert.ok(!mayWork || statuses.has(200), [...statuses].join())
    })
  }
})
