/** Bodies of requests: right ones, nearly right ones, and anything. */
import fc from 'fast-check'
import { requestSchema } from 'magicmix'

const properties = requestSchema.properties as Record<string, { type?: string; enum?: unknown[] }>
const names = [...Object.keys(properties), 'vary', 'cells', 'model', 'text']

const prompt = fc.constantFrom('a photo of a pear', 'a lemon', '', 'a '.repeat(90), 'ä😀\ud800')
const numbers = fc.oneof(
  fc.integer({ min: -2, max: 12 }),
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.constantFrom(8, 64, 128, 1e9, -0, 2 ** 53),
)
const layout = fc.oneof(
  { weight: 4, arbitrary: fc.record({ prompt }) },
  fc.record({ bytes: fc.base64String({ maxLength: 60 }) }),
  fc.record({ path: fc.string() }),
  fc.record({ data: fc.base64String(), width: numbers, height: numbers, channels: numbers }),
  fc.string(),
)
const anything = fc.oneof(fc.jsonValue({ maxDepth: 4 }), numbers, prompt, layout)

function valueOf(name: string): fc.Arbitrary<unknown> {
  if (name === 'layout') return fc.oneof({ weight: 9, arbitrary: layout }, anything)
  if (name === 'vary') return fc.oneof({ weight: 9, arbitrary: vary }, anything)
  const { type, enum: choices } = properties[name] ?? {}
  const fitting = choices
    ? fc.constantFrom(...choices)
    : type === 'string' || name === 'text'
      ? prompt
      : type === 'boolean'
        ? fc.boolean()
        : type === 'number'
          ? fc.double({ min: 0, max: 1, noNaN: true })
          : numbers
  return fc.oneof({ weight: 6, arbitrary: fitting }, anything)
}

const vary: fc.Arbitrary<unknown> = fc
  .subarray(['nu', 'kMax', 'seed', 'content', 'layout', 'loras', 'nope', 'attention'], {
    maxLength: 3,
  })
  .chain((options) =>
    fc.record(
      Object.fromEntries(
        options.map((name) => [
          name,
          fc.array(name === 'nope' ? anything : valueOf(name), { maxLength: 3 }),
        ]),
      ),
    ),
  )

const requests = fc
  .tuple(fc.subarray(names, { maxLength: 4 }), fc.boolean(), fc.boolean())
  .chain(([some, withLayout, withContent]) =>
    fc.record({
      ...Object.fromEntries(some.map((name) => [name, valueOf(name)])),
      ...(withLayout ? { layout: fc.record({ prompt }) } : {}),
      ...(withContent ? { content: prompt } : {}),
      steps: fc.constantFrom(2, 3, 4),
    }),
  )

/** As text: what is no request, and what is not even JSON, too. */
export const anyBody: fc.Arbitrary<string> = fc.oneof(
  { weight: 12, arbitrary: requests.map((request) => JSON.stringify(request)) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 6 }).map((value) => JSON.stringify(value)) },
  fc.string({ maxLength: 200 }),
  fc
    .tuple(requests, fc.nat({ max: 200 }))
    .map(([request, at]) => JSON.stringify(request).slice(0, at)),
)

const boundary = 'b'
const partName = fc.constantFrom(...names, 'request', '', '__proto__', 'x"\r\ny', 'layout')
const part = fc
  .record({
    name: partName,
    file: fc.option(fc.constantFrom('a.png', '../../a', ''), { nil: undefined }),
    value: fc.oneof(
      anyBody,
      prompt,
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    ),
    end: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', ''),
  })
  .map(({ name, file, value, end }) => {
    const disposition = `form-data; name="${name}"${file === undefined ? '' : `; filename="${file}"`}`
    return `--${boundary}\r\ncontent-disposition: ${disposition}\r\n\r\n${value}${end}`
  })

/** All that a text to be cut into tokens needs. */
const text = `--${boundary}\r\ncontent-disposition: form-data; name="text"\r\n\r\na cat\r\n`

/** Bodies of multipart, most of them with mistakes, and the type that they are sent with. */
export const anyForm = fc.record({
  type: fc.constantFrom(
    ...[`multipart/form-data; boundary=${boundary}`, `multipart/form-data; boundary="${boundary}"`],
    ...['multipart/form-data', 'multipart/mixed; boundary=b', 'application/x-www-form-urlencoded'],
  ),
  body: fc
    .tuple(
      fc.oneof(fc.array(part, { maxLength: 4 }), fc.constantFrom([text], [text, text])),
      fc.constantFrom(`--${boundary}--\r\n`, `--${boundary}--\r\n`, ''),
    )
    .map(([parts, end]) => Buffer.from(parts.join('') + end, 'latin1')),
})
