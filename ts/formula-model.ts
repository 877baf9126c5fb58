/**
 * Checkpoints without a download: a Stable Diffusion 1.x network whose weights are computed from the
 * tensors' names. It draws nothing recognisable, but runs through the same code as a trained one, and
 * its numbers are the same everywhere. `magicmix demo`, the tests and the benchmarks use it.
 *
 * The rule: splitmix64, seeded with FNV-1a of the tensor's name, gives r in [-1, 1) for element i;
 * norms get 1 + 0.1 r, biases 0.05 r, embeddings 0.5 r and everything else r sqrt(3 / fan-in), which
 * keeps activations at about unit size. Values are rounded to float16 first, in every file type, so
 * that an F32 file holds exactly the same network.
 */
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

/** The sizes that tell one SD 1.x network from another. */
export interface FormulaConfig {
  text: { vocabulary: number; positions: number; width: number; layers: number; mlpWidth: number }
  /** `channels` by level, from fine to coarse; every level but the coarsest has attention. */
  unet: { latentChannels: number; channels: number[]; layersPerLevel: number }
  vae: { channels: number[]; layersPerLevel: number }
}

const clip = { vocabulary: 49408, positions: 77 }

/** About 14 million parameters: 4 UNet heads, 2 text encoder heads. */
export const tinyConfig: FormulaConfig = {
  text: { ...clip, width: 64, layers: 2, mlpWidth: 256 },
  unet: { latentChannels: 4, channels: [32, 64, 128, 128], layersPerLevel: 2 },
  vae: { channels: [32, 64, 64, 64], layersPerLevel: 2 },
}

/** The sizes of Stable Diffusion 1.5: about 1.07 billion parameters. */
export const sd15Config: FormulaConfig = {
  text: { ...clip, width: 768, layers: 12, mlpWidth: 3072 },
  unet: { latentChannels: 4, channels: [320, 640, 1280, 1280], layersPerLevel: 2 },
  vae: { channels: [128, 256, 512, 512], layersPerLevel: 2 },
}

/** A tensor of a checkpoint; `name` as the original Stable Diffusion files have it. */
export interface TensorSpec {
  name: string
  shape: number[]
}

/** Every tensor of the network, sorted by name. */
export function formulaTensors(config: FormulaConfig): TensorSpec[] {
  const tensors = [...textEncoder(config), ...unet(config), ...autoencoder(config)]
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1))
}

// -------------------------------------------------------------------------------------------------
// The architecture

function* linear(name: string, from: number, to: number): Generator<TensorSpec> {
  yield { name: `${name}.weight`, shape: [to, from] }
  yield { name: `${name}.bias`, shape: [to] }
}

function* conv(name: string, from: number, to: number, kernel: number): Generator<TensorSpec> {
  yield { name: `${name}.weight`, shape: [to, from, kernel, kernel] }
  yield { name: `${name}.bias`, shape: [to] }
}

function* norm(name: string, channels: number): Generator<TensorSpec> {
  yield { name: `${name}.weight`, shape: [channels] }
  yield { name: `${name}.bias`, shape: [channels] }
}

function* textEncoder({ text }: FormulaConfig): Generator<TensorSpec> {
  const root = 'cond_stage_model.transformer.text_model'
  yield { name: `${root}.embeddings.token_embedding.weight`, shape: [text.vocabulary, text.width] }
  yield {
    name: `${root}.embeddings.position_embedding.weight`,
    shape: [text.positions, text.width],
  }
  for (let i = 0; i < text.layers; i++) {
    const layer = `${root}.encoder.layers.${i}`
    yield* norm(`${layer}.layer_norm1`, text.width)
    for (const projection of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) {
      yield* linear(`${layer}.self_attn.${projection}`, text.width, text.width)
    }
    yield* norm(`${layer}.layer_norm2`, text.width)
    yield* linear(`${layer}.mlp.fc1`, text.width, text.mlpWidth)
    yield* linear(`${layer}.mlp.fc2`, text.mlpWidth, text.width)
  }
  yield* norm(`${root}.final_layer_norm`, text.width)
}

function* unet(config: FormulaConfig): Generator<TensorSpec> {
  const root = 'model.diffusion_model'
  const { latentChannels, channels, layersPerLevel } = config.unet
  const base = first(channels)
  const coarsest = channels.length - 1
  const timeWidth = 4 * base

  yield* linear(`${root}.time_embed.0`, base, timeWidth)
  yield* linear(`${root}.time_embed.2`, timeWidth, timeWidth)

  yield* conv(`${root}.input_blocks.0.0`, latentChannels, base, 3)
  const skips = [base]
  let width = base
  for (const [level, to] of channels.entries()) {
    for (let layer = 0; layer < layersPerLevel; layer++) {
      const block = `${root}.input_blocks.${skips.length}`
      yield* unetResBlock(`${block}.0`, width, to, timeWidth)
      if (level < coarsest) yield* transformer(`${block}.1`, to, config.text.width)
      width = to
      skips.push(width)
    }
    if (level < coarsest) {
      yield* conv(`${root}.input_blocks.${skips.length}.0.op`, width, width, 3)
      skips.push(width)
    }
  }

  yield* unetResBlock(`${root}.middle_block.0`, width, width, timeWidth)
  yield* transformer(`${root}.middle_block.1`, width, config.text.width)
  yield* unetResBlock(`${root}.middle_block.2`, width, width, timeWidth)

  let index = 0
  for (const [level, to] of [...channels.entries()].reverse()) {
    for (let layer = 0; layer <= layersPerLevel; layer++) {
      const block = `${root}.output_blocks.${index++}`
      yield* unetResBlock(`${block}.0`, width + (skips.pop() ?? 0), to, timeWidth)
      if (level < coarsest) yield* transformer(`${block}.1`, to, config.text.width)
      width = to
      if (level > 0 && layer === layersPerLevel) {
        yield* conv(`${block}.${level < coarsest ? 2 : 1}.conv`, width, width, 3)
      }
    }
  }

  yield* norm(`${root}.out.0`, width)
  yield* conv(`${root}.out.2`, width, latentChannels, 3)
}

function* unetResBlock(
  name: string,
  from: number,
  to: number,
  timeWidth: number,
): Generator<TensorSpec> {
  yield* norm(`${name}.in_layers.0`, from)
  yield* conv(`${name}.in_layers.2`, from, to, 3)
  yield* linear(`${name}.emb_layers.1`, timeWidth, to)
  yield* norm(`${name}.out_layers.0`, to)
  yield* conv(`${name}.out_layers.3`, to, to, 3)
  if (from !== to) yield* conv(`${name}.skip_connection`, from, to, 1)
}

function* transformer(name: string, width: number, contextWidth: number): Generator<TensorSpec> {
  yield* norm(`${name}.norm`, width)
  yield* conv(`${name}.proj_in`, width, width, 1)
  const block = `${name}.transformer_blocks.0`
  const attentions = [
    ['attn1', width],
    ['attn2', contextWidth],
  ] as const
  for (const [attention, keyWidth] of attentions) {
    yield { name: `${block}.${attention}.to_q.weight`, shape: [width, width] }
    yield { name: `${block}.${attention}.to_k.weight`, shape: [width, keyWidth] }
    yield { name: `${block}.${attention}.to_v.weight`, shape: [width, keyWidth] }
    yield* linear(`${block}.${attention}.to_out.0`, width, width)
  }
  yield* linear(`${block}.ff.net.0.proj`, width, 8 * width)
  yield* linear(`${block}.ff.net.2`, 4 * width, width)
  for (const layerNorm of ['norm1', 'norm2', 'norm3']) yield* norm(`${block}.${layerNorm}`, width)
  yield* conv(`${name}.proj_out`, width, width, 1)
}

function* autoencoder({ unet, vae }: FormulaConfig): Generator<TensorSpec> {
  const root = 'first_stage_model'
  const { channels, layersPerLevel } = vae
  const base = first(channels)
  const coarsest = channels.length - 1
  const latent = unet.latentChannels

  const encoder = `${root}.encoder`
  yield* conv(`${encoder}.conv_in`, 3, base, 3)
  let width = base
  for (const [level, to] of channels.entries()) {
    for (let layer = 0; layer < layersPerLevel; layer++) {
      yield* vaeResBlock(`${encoder}.down.${level}.block.${layer}`, width, to)
      width = to
    }
    if (level < coarsest) {
      yield* conv(`${encoder}.down.${level}.downsample.conv`, width, width, 3)
    }
  }
  yield* vaeMiddle(`${encoder}.mid`, width)
  yield* norm(`${encoder}.norm_out`, width)
  yield* conv(`${encoder}.conv_out`, width, 2 * latent, 3)
  yield* conv(`${root}.quant_conv`, 2 * latent, 2 * latent, 1)

  const decoder = `${root}.decoder`
  yield* conv(`${root}.post_quant_conv`, latent, latent, 1)
  yield* conv(`${decoder}.conv_in`, latent, width, 3)
  yield* vaeMiddle(`${decoder}.mid`, width)
  for (const [level, to] of [...channels.entries()].reverse()) {
    for (let layer = 0; layer <= layersPerLevel; layer++) {
      yield* vaeResBlock(`${decoder}.up.${level}.block.${layer}`, width, to)
      width = to
    }
    if (level > 0) yield* conv(`${decoder}.up.${level}.upsample.conv`, width, width, 3)
  }
  yield* norm(`${decoder}.norm_out`, width)
  yield* conv(`${decoder}.conv_out`, width, 3, 3)
}

function* vaeMiddle(name: string, width: number): Generator<TensorSpec> {
  yield* vaeResBlock(`${name}.block_1`, width, width)
  yield* norm(`${name}.attn_1.norm`, width)
  for (const projection of ['q', 'k', 'v', 'proj_out']) {
    yield* conv(`${name}.attn_1.${projection}`, width, width, 1)
  }
  yield* vaeResBlock(`${name}.block_2`, width, width)
}

function* vaeResBlock(name: string, from: number, to: number): Generator<TensorSpec> {
  yield* norm(`${name}.norm1`, from)
  yield* conv(`${name}.conv1`, from, to, 3)
  yield* norm(`${name}.norm2`, to)
  yield* conv(`${name}.conv2`, to, to, 3)
  if (from !== to) yield* conv(`${name}.nin_shortcut`, from, to, 1)
}

function first(channels: number[]): number {
  const [base] = channels
  if (base === undefined) throw new Error('a network needs at least one level')
  return base
}

// -------------------------------------------------------------------------------------------------
// The values

/** How a file stores the values. */
export type FormulaDtype = 'F16' | 'F32' | 'BF16'

/** Bytes of one element. */
export const dtypeBytes: Record<FormulaDtype, number> = { F16: 2, F32: 4, BF16: 2 }

/** Small enough that computing a chunk never holds the event loop for more than a few ms. */
const chunkElements = 128 * 1024

/** The values of a tensor as little-endian bytes, piece by piece. */
export function* formulaChunks(spec: TensorSpec, dtype: FormulaDtype): Generator<Uint8Array> {
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
  if (shape.length === 1) return name.endsWith('.bias') ? [0, 0.05] : [1, 0.1]
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
  return sign | ((scratchBits[0]) - 0x3f000000)
}

function encode(halfs: Uint16Array, dtype: FormulaDtype): Uint8Array {
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

// -------------------------------------------------------------------------------------------------
// The file

/** A tensor to be stored under `name` with `shape`, whose bytes come from `chunks`. */
export interface StoredTensor extends TensorSpec {
  dtype: FormulaDtype
  chunks: () => Iterable<Uint8Array>
}

/** The tensors of a formula-weight checkpoint, ready for {@link writeSafetensors}. */
export function formulaCheckpoint(
  config: FormulaConfig,
  dtype: FormulaDtype = 'F16',
): StoredTensor[] {
  return formulaTensors(config).map((spec) => ({
    ...spec,
    dtype,
    chunks: () => formulaChunks(spec, dtype),
  }))
}

export interface WriteOptions {
  /** Fraction written, 0..1. */
  onProgress?: (fraction: number) => void
  /** Stops writing; the promise rejects with its reason and no file is left. */
  signal?: AbortSignal
}

/**
 * Writes a safetensors file. The file appears under its name only when it is complete. Memory stays
 * at a few chunks, whatever the size, and the event loop is free between chunks.
 */
export async function writeSafetensors(
  file: string,
  tensors: StoredTensor[],
  { onProgress, signal }: WriteOptions = {},
): Promise<void> {
  const unfinished = `${file}.${randomUUID()}.part`
  try {
    const handle = await open(unfinished, 'wx')
    try {
      await writeAll(handle, safetensorsHeader(tensors))
      await writeTensors(handle, tensors, onProgress, signal)
    } finally {
      await handle.close()
    }
    await rename(unfinished, file)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

async function writeTensors(
  handle: FileHandle,
  tensors: StoredTensor[],
  onProgress: WriteOptions['onProgress'],
  signal: AbortSignal | undefined,
): Promise<void> {
  const total = tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0)
  let written = 0
  for (const tensor of tensors) {
    for (const chunk of tensor.chunks()) {
      signal?.throwIfAborted()
      await writeAll(handle, chunk)
      written += chunk.length
      onProgress?.(written / total)
    }
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await handle.write(bytes, done)).bytesWritten
  }
}

function safetensorsHeader(tensors: StoredTensor[]): Uint8Array {
  let offset = 0
  const entries = tensors.map((tensor) => {
    const begin = offset
    offset += byteLength(tensor)
    const { name, dtype, shape } = tensor
    return [name, { dtype, shape, data_offsets: [begin, offset] }] as const
  })
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)), 'utf8')
  const padded = Math.ceil(json.length / 8) * 8 // so that the data is aligned
  const header = Buffer.alloc(8 + padded, ' ')
  header.writeBigUInt64LE(BigInt(padded), 0)
  json.copy(header, 8)
  return header
}

function byteLength({ shape, dtype }: StoredTensor): number {
  return shape.reduce((product, side) => product * side, dtypeBytes[dtype])
}
