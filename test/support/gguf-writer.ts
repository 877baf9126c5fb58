/** Writing, and forging, GGUF files. Independent of the one in C++. */

/** Numbers of the types in the format. */
export const ggufTypes = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 8, BF16: 30 } as const

export interface GgufTensor {
  name: string
  /** From the slowest axis to the fastest. */
  shape: number[]
  type: number
  data: Uint8Array
  /** Another offset than the right one. */
  offset?: number | bigint
}

/** A key with what follows it: `u32`, `text` or `array` of the functions below, or forged bytes. */
export type GgufPair = readonly [key: string, value: Uint8Array]

export interface GgufFile {
  version?: number
  pairs?: GgufPair[]
  tensors?: GgufTensor[]
  alignment?: number
  /** Counts that lie. */
  tensorCount?: bigint
  pairCount?: bigint
}

/** The bytes of a file. */
export function ggufBytes(file: GgufFile): Buffer {
  const { version = 3, pairs = [], tensors = [], alignment = 32 } = file
  const pad = (length: number) => (alignment - (length % alignment)) % alignment
  let next = 0
  const descriptions = tensors.map(({ name, shape, type, data, offset }) => {
    const description = [
      ...[string(name), u32(shape.length), ...[...shape].reverse().map((side) => u64(side))],
      ...[u32(type), u64(offset ?? next)],
    ]
    next += data.length + pad(data.length)
    return Buffer.concat(description)
  })
  const head = Buffer.concat([
    ...[Buffer.from('GGUF'), u32(version)],
    ...[u64(file.tensorCount ?? tensors.length), u64(file.pairCount ?? pairs.length)],
    ...pairs.flatMap(([key, value]) => [string(key), value]),
    ...descriptions,
  ])
  const values = tensors.flatMap(({ data }) => [data, Buffer.alloc(pad(data.length))])
  return Buffer.concat([head, Buffer.alloc(pad(head.length)), ...values])
}

/** A value of a pair: its type, then itself. */
export const value = {
  u32: (number: number) => Buffer.concat([u32(4), u32(number)]),
  text: (text: string) => Buffer.concat([u32(8), string(text)]),
  i32s: (numbers: number[]) =>
    Buffer.concat([u32(9), u32(5), u64(numbers.length), ...numbers.map((n) => u32(n >>> 0))]),
}

export function u32(number: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(number)
  return bytes
}

export function u64(number: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(number))
  return bytes
}

export function string(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  return Buffer.concat([u64(bytes.length), bytes])
}

// -------------------------------------------------------------------------------------------------
// Quantising, the plain way: 32 values share the factor `largest / most`.

/** Blocks of an f16 factor and 32 signed bytes. */
export function q8_0(values: ArrayLike<number>): { data: Buffer; dequantised: Float32Array } {
  return inBlocks(values, 127, (steps) => Uint8Array.from(steps, (step) => step & 255))
}

/** Blocks of an f16 factor and 16 bytes: the low halves are the first 16 values, plus 8. */
export function q4_0(values: ArrayLike<number>): { data: Buffer; dequantised: Float32Array } {
  return inBlocks(values, 7, (steps) =>
    Uint8Array.from({ length: 16 }, (_, i) => (steps[i]! + 8) | ((steps[i + 16]! + 8) << 4)),
  )
}

function inBlocks(
  values: ArrayLike<number>,
  most: number,
  pack: (steps: number[]) => Uint8Array,
): { data: Buffer; dequantised: Float32Array } {
  const dequantised = new Float32Array(values.length)
  const blocks: Uint8Array[] = []
  for (let first = 0; first < values.length; first += 32) {
    const block = Array.from({ length: 32 }, (_, i) => values[first + i]!)
    const largest = Math.max(...block.map(Math.abs))
    // A power of two is an f16 without rounding.
    const exponent = Math.max(-14, Math.ceil(Math.log2(largest / most || 2 ** -14)))
    const factor = 2 ** exponent
    const steps = block.map((x) => Math.round(x / factor))
    steps.forEach((step, i) => (dequantised[first + i] = step * factor))
    const half = Buffer.alloc(2)
    half.writeUInt16LE((exponent + 15) << 10)
    blocks.push(half, pack(steps))
  }
  return { data: Buffer.concat(blocks), dequantised }
}
