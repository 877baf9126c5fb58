/** Writing, and forging, what `torch.save` writes: pickles, zip archives, and the form before these. */
import { crc32 } from 'node:zlib'

import type { Dtype, StoredTensor } from './safetensors-writer.js'

// -------------------------------------------------------------------------------------------------
// Pickles, as pieces that can be put together wrongly

export const byte = (...values: number[]) => Buffer.from(values)
const u16 = (value: number) => byte(value & 255, value >> 8)
export const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
export const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** What a pickle is made of. */
export const pickled = {
  none: byte(0x4e),
  text: (text: string) =>
    Buffer.concat([Buffer.from('X'), u32(Buffer.byteLength(text)), text8(text)]),
  /** Whole numbers of at most 64 bits. */
  number: (value: number | bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(value))
    return Buffer.concat([byte(0x8a, 8), bytes])
  },
  tuple: (...items: Buffer[]) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]),
  list: (...items: Buffer[]) => Buffer.concat([Buffer.from(']('), ...items, Buffer.from('e')]),
  dictionary: (...pairs: [Buffer, Buffer][]) =>
    Buffer.concat([Buffer.from('}('), ...pairs.flat(), Buffer.from('u')]),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  call: (callee: Buffer, ...args: Buffer[]) =>
    Buffer.concat([callee, pickled.tuple(...args), Buffer.from('R')]),
  persistent: (id: Buffer) => Buffer.concat([id, Buffer.from('Q')]),
  /** With what comes before and after; `opcodes` leave one value on the stack. */
  whole: (...opcodes: Buffer[]) => Buffer.concat([byte(0x80, 2), ...opcodes, Buffer.from('.')]),
}

const text8 = (text: string) => Buffer.from(text, 'utf8')

// -------------------------------------------------------------------------------------------------
// Tensors

/** How a tensor lies in a storage. */
export interface View {
  /** The class of the storage: 'HalfStorage'. */
  storage: string
  key: string
  /** Elements of the storage. */
  elements: number | bigint
  shape: (number | bigint)[]
  strides?: (number | bigint)[]
  /** Elements before the first one. */
  offset?: number | bigint
}

const storageClasses: Record<Dtype, string> = {
  F16: 'HalfStorage',
  F32: 'FloatStorage',
  BF16: 'BFloat16Storage',
}

/** The call that makes a tensor; `legacy` storages have one more property. */
export function pickledTensor(view: View, legacy = false): Buffer {
  const { text, number, tuple, global, call, persistent, none } = pickled
  const id = [text('storage'), global('torch', view.storage), text(view.key), text('cpu')]
  const storage = tuple(...id, number(view.elements), ...(legacy ? [none] : []))
  return call(
    global('torch._utils', '_rebuild_tensor_v2'),
    persistent(storage),
    number(view.offset ?? 0),
    tuple(...view.shape.map(number)),
    tuple(...(view.strides ?? contiguous(view.shape)).map(number)),
    byte(0x89),
    call(global('collections', 'OrderedDict')),
  )
}

function contiguous(shape: (number | bigint)[]): bigint[] {
  let stride = 1n
  const strides: bigint[] = []
  for (const length of [...shape].reverse()) {
    strides.unshift(stride)
    stride = BigInt.asIntN(64, stride * BigInt(length))
  }
  return strides
}

/** A file's tensors as they are to be pickled, and their storages. */
export function pickledTensors(
  tensors: StoredTensor[],
  legacy = false,
): { state: Buffer; storages: Record<string, Buffer> } {
  const storages: Record<string, Buffer> = {}
  const pairs = tensors.map(({ name, shape, dtype, chunks }, i): [Buffer, Buffer] => {
    const elements = shape.reduce((product, side) => product * side, 1)
    storages[i] = Buffer.concat([...chunks()])
    const view = { storage: storageClasses[dtype], key: String(i), elements, shape }
    return [pickled.text(name), pickledTensor(view, legacy)]
  })
  return { state: pickled.dictionary(...pairs), storages }
}

// -------------------------------------------------------------------------------------------------
// Files

/** The archive of a pickle and its storages. */
export function torchArchive(pickle: Buffer, storages: Record<string, Buffer> = {}): Buffer {
  return zipBytes([
    { name: 'archive/data.pkl', data: pickle },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ])
}

/** A checkpoint as pytorch-lightning saves one. */
export function torchCheckpoint(tensors: StoredTensor[]): Buffer {
  const { state, storages } = pickledTensors(tensors)
  const { text, number, dictionary, whole } = pickled
  const all = dictionary([text('global_step'), number(470000)], [text('state_dict'), state])
  return torchArchive(whole(all), storages)
}

const legacyMagic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')

/** The form from before torch 1.6; `state` is pickled with `legacy` storages. */
export function legacyFile(
  state: Buffer,
  storages: Record<string, Buffer>,
  elementBytes: number,
): Buffer {
  const { number, text, dictionary, list, whole } = pickled
  return Buffer.concat([
    legacyMagic,
    whole(number(1001)),
    whole(
      dictionary([text('protocol_version'), number(1001)], [text('little_endian'), byte(0x88)]),
    ),
    whole(state),
    whole(list(...Object.keys(storages).map(text))),
    ...Object.values(storages).flatMap((data) => [u64(data.length / elementBytes), data]),
  ])
}

/** A file of an archive, and what is to be said of it that is not so. */
export interface ArchivedFile {
  name: string
  data: Uint8Array
  /** 0 is stored, 8 deflated. */
  method?: number
  /** 1 is encrypted. */
  flags?: number
  /** What the directory says. */
  claimed?: { name?: string; bytes?: number; original?: number; offset?: number; zip64?: bigint }
}

/** A zip archive. */
export function zipBytes(
  files: ArchivedFile[],
  forged: { entries?: number; directory?: number; comment?: string } = {},
): Buffer {
  const bodies: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const { name, data, method = 0, flags = 0, claimed = {} } of files) {
    const common = (bytes: number, original: number, length: number, extra: number) => [
      u16(flags),
      u16(method),
      u32(0),
      u32(crc32(data)),
      u32(bytes),
      u32(original),
      u16(length),
      u16(extra),
    ]
    const said = Buffer.from(claimed.name ?? name)
    const bytes = claimed.bytes ?? data.length
    const extra =
      claimed.zip64 === undefined
        ? Buffer.alloc(0)
        : Buffer.concat([u16(1), u16(8), u64(claimed.zip64)])
    directory.push(
      Buffer.concat([
        ...[u32(0x02014b50), u16(45), u16(45)],
        ...common(bytes, claimed.original ?? bytes, said.length, extra.length),
        ...[u16(0), u16(0), u16(0), u32(0), u32(claimed.offset ?? at), said, extra],
      ]),
    )
    const head = common(data.length, data.length, Buffer.byteLength(name), 0)
    bodies.push(Buffer.concat([u32(0x04034b50), u16(45), ...head, Buffer.from(name), data]))
    at += bodies.at(-1)!.length
  }
  const bytes = Buffer.concat(directory)
  const entries = u16(forged.entries ?? files.length)
  const comment = Buffer.from(forged.comment ?? '')
  return Buffer.concat([
    ...bodies,
    bytes,
    ...[u32(0x06054b50), u32(0), entries, entries, u32(bytes.length)],
    ...[u32(forged.directory ?? at), u16(comment.length), comment],
  ])
}
