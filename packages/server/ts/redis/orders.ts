/** An order as fields of a hash: its JSON, and every picture by itself, as bytes. */
import type { JobKind, Order } from '../jobs/jobs.js'

type Path = (string | number)[]

interface Packed {
  kind: JobKind
  model: string
  bytes: number
  request: unknown
  /** Where the pictures '0', '1', … were. */
  pictures: Path[]
}

export function packOrder({ kind, model, bytes, request }: Order): [string, string | Buffer][] {
  const pictures: Path[] = []
  const found: Buffer[] = []
  const without = (value: unknown, path: Path): unknown => {
    if (Buffer.isBuffer(value)) {
      pictures.push(path)
      found.push(value)
      return null
    }
    if (Array.isArray(value)) return value.map((each, i) => without(each, [...path, i]))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [name, without(each, [...path, name])]),
    )
  }
  const packed: Packed = { kind, model, bytes, request: without(request, []), pictures }
  return [
    ['order', JSON.stringify(packed)],
    ...found.map((each, i): [string, Buffer] => [`${i}`, each]),
  ]
}

/** Undefined if it is not there any more. */
export function unpackOrder(fields: Record<string, Buffer>): Order | undefined {
  const { order } = fields
  if (order === undefined) return undefined
  const { kind, model, bytes, request, pictures } = JSON.parse(order.toString()) as Packed
  pictures.forEach((path, i) => put(request as Container, path, fields[i]))
  return { kind, model, bytes, request: request as Order['request'] }
}

type Container = Record<string | number, unknown>

function put(into: Container, path: Path, picture: Buffer | undefined): void {
  const last = path.at(-1) ?? ''
  const holder = path.slice(0, -1).reduce((holder, name) => holder[name] as Container, into)
  holder[last] = picture
}
