/**
 * The weights of a formula-weight model, computed from a tensor's name and shape.
 *
 * The rule: splitmix64, seeded with FNV-1a of the tensor's name, gives r in [-1, 1) for element i;
 * norms get 1 + 0.1 r, biases 0.05 r, embeddings 0.5 r and everything else r sqrt(3 / fan-in), which
 * keeps activations at about unit size. Values are rounded to float16 first, in every file type, so
 * that an F32 file holds exactly the same network.
 */
import { type Dtype, type TensorSpec, dtypeBytes } from './safetensors-writer.js'

/** Small enough that computing a chunk never holds the event loop for more than a few ms. */
const chunkElements = 128 * 1024

/** The values of a tensor as little-endian bytes, piece by piece. */
export function* formulaChunks(spec: TensorSpec, dtype: Dtype): Generator<Uint8Array> {
  const random = new FormulaStream(spec)
  const count = spec.shape.reduce((product, side) => product * side, 1)
  for (let done = 0; done < count; done += chunkElements) {
    const halfs = new Uint16Array(Math.min(chunkElements, count - done))
    random.fill(halfs)
    yield encode(halfs, dtype)
  }
}

/** Successive elements of one tensor. */
class FormulaStream {
  readonly #offset: number
  readonly #scale: number
  // The counter of splitmix64 as two unsigned halves: JavaScript has no fast 64-bit integers.
  #high: number
  #low: number

  constructor(spec: TensorSpec) {
    const seed = fnv1a64(spec.name)
    this.#high = Number(seed >> 32n)
    this.#low = Number(seed & 0xffffffffn)
    ;[this.#offset, this.#scale] = affine(spec)
  }

  /** Writes the next `out.length` elements, as bits of float16. */
  fill(out: Uint16Array): void {
    const offset = this.#offset
    const scale = this.#scale
    let high = this.#high | 0
    let low = this.#low | 0
    const float = new Float32Array(1)
    const bits = new Int32Array(float.buffer)

    for (let i = 0; i < out.length; i++) {
      // counter += 0x9e3779b97f4a7c15
      const sum = (low + 0x7f4a7c15) | 0
      high = (high + 0x9e3779b9 + (sum >>> 0 < 0x7f4a7c15 ? 1 : 0)) | 0
      low = sum

      // z ^= z >> 30
      let zLow = low ^ ((low >>> 30) | (high << 2))
      let zHigh = high ^ (high >>> 30)
      // z *= 0xbf58476d1ce4e5b9; the upper half takes the carry of the lower halves' product
      let carry = upperProduct(zLow, 0x1ce4, 0xe5b9)
      zHigh = (carry + Math.imul(zLow, 0xbf58476d) + Math.imul(zHigh, 0x1ce4e5b9)) | 0
      zLow = Math.imul(zLow, 0x1ce4e5b9)
      // z ^= z >> 27
      zLow ^= (zLow >>> 27) | (zHigh << 5)
      zHigh ^= zHigh >>> 27
      // z *= 0x94d049bb133111eb, of which the upper half is enough: z >> 40 are its first 24 bits,
      // and the last step of splitmix64, z ^= z >> 31, does not touch these
      carry = upperProduct(zLow, 0x1331, 0x11eb)
      zHigh = (carry + Math.imul(zLow, 0x94d049bb) + Math.imul(zHigh, 0x133111eb)) | 0

      const r = (zHigh >>> 8) * 2 ** -23 - 1
      float[0] = offset + scale * r
      out[i] = halfOfSingle(bits[0] as number)
    }
    this.#high = high
    this.#low = low
  }
}

/** FNV-1a of the name's UTF-8 bytes. */
function fnv1a64(name: string): bigint {
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(name, 'utf8')) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  }
  return hash
}

/** `[offset, scale]` of value = offset + scale r. */
function affine({ name, shape }: TensorSpec): [number, number] {
  if (shape.length === 1) return name.endsWith('bias') ? [0, 0.05] : [1, 0.1]
  if (/(token|position)_embedding\.weight$/.test(name)) return [0, 0.5]
  const fanIn = shape.slice(1).reduce((product, side) => product * side, 1)
  return [0, Math.sqrt(3 / fanIn)]
}

/** Bits 32..63 of the product of two unsigned 32-bit numbers, the second given as 16-bit halves. */
function upperProduct(a: number, bHigh: number, bLow: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  // Neither sum can exceed 2^32 - 1.
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0
  const other = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (other >>> 16)) | 0
}

const scratch = new Float32Array(1)
const scratchBits = new Int32Array(scratch.buffer)

/** Bits of float32 to bits of float16, to nearest, ties to even. Our values are below 65504. */
function halfOfSingle(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude >= 0x38800000) {
    // normal: drop 13 bits of the fraction, and 112 from the exponent
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13)
  }
  // subnormal, a multiple of 2^-24: exactly the spacing of float32 just above 0.5
  scratchBits[0] = magnitude
  scratch[0] = (scratch[0] as number) + 0.5
  return sign | (scratchBits[0] - 0x3f000000)
}

function encode(halfs: Uint16Array, dtype: Dtype): Uint8Array {
  const bytes = new Uint8Array(halfs.length * dtypeBytes[dtype])
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < halfs.length; i++) {
    const half = halfs[i] as number
    if (dtype === 'F16') view.setUint16(2 * i, half, true)
    else if (dtype === 'F32') view.setFloat32(4 * i, singleOfHalf(half), true)
    else view.setUint16(2 * i, bfloatOfSingle(singleOfHalf(half)), true)
  }
  return bytes
}

/** Bits of a finite float16 to its value. */
function singleOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** A finite float32 to bits of bfloat16, to nearest, ties to even. */
function bfloatOfSingle(value: number): number {
  scratch[0] = value
  const bits = scratchBits[0] as number
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}
