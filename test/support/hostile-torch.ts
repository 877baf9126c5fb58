/** Files of torch that lie, by what is wrong with them: the bytes, and what the error has to say. */
import { existsSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import {
  type View,
  byte,
  legacyFile,
  pickled,
  pickledTensor,
  torchArchive,
  u32,
  u64,
  zipBytes,
} from './torch-writer.js'

export type HostileFile = [file: Buffer, code: string, message: RegExp]

const { text, number, tuple, list, dictionary, global, call, persistent, whole } = pickled

/** What a pickle makes if somebody runs it after all. */
const marker = path.join(tmpdir(), `magicmix-was-here-${process.pid}`)
export function somethingWasRun(): boolean {
  const was = existsSync(marker)
  rmSync(marker, { force: true })
  return was
}
const command = text(`touch '${marker}'`)
const python = text(`open(${JSON.stringify(marker)}, 'w')`)

const name = 'model.diffusion_model.out.2.bias'
const view: View = { storage: 'FloatStorage', key: '0', elements: 16, shape: [4, 4] }
const storages = { '0': Buffer.alloc(64) }
const tensor = (change: Partial<View> = {}) => pickledTensor({ ...view, ...change })
const file = (...pairs: [string, Buffer][]) =>
  torchArchive(
    whole(dictionary(...pairs.map(([key, value]): [Buffer, Buffer] => [text(key), value]))),
    storages,
  )
const viewed = (change: Partial<View>) => file([name, tensor(change)])
const pickle = (...opcodes: (Buffer | string)[]) =>
  torchArchive(whole(...opcodes.map((piece) => Buffer.from(piece as Buffer))), storages)

const format = (bytes: Buffer, message: RegExp): HostileFile => [bytes, 'MODEL_FORMAT', message]
const unsupported = (bytes: Buffer, message: RegExp): HostileFile => [
  ...([bytes, 'MODEL_UNSUPPORTED'] as const),
  message,
]

// -------------------------------------------------------------------------------------------------
// The archive

const intact = file([name, tensor()])
const data = { name: 'archive/data.pkl', data: whole(dictionary([text(name), tensor()])) }
const storage = { name: 'archive/data/0', data: Buffer.alloc(64) }
const inner = zipBytes([storage]).subarray(0, 30 + storage.name.length + 64)

export const hostileZip: Record<string, HostileFile> = {
  ...truncations(intact, [4, 29, 30, 60, 200, intact.length - 60, intact.length - 22]),
  ...truncations(intact, [intact.length - 21, intact.length - 1]),
  'claims 60000 entries': format(zipBytes([data], { entries: 60000 }), /claims 60000 entries/),
  'claims more entries than it has': format(zipBytes([data], { entries: 2 }), /./),
  'whose directory is beyond the end': format(
    zipBytes([data], { directory: 2 ** 31 }),
    /directory would lie at byte 2147483648/,
  ),
  'whose directory is elsewhere': format(zipBytes([data], { directory: 0 }), /damaged/),
  'with an entry that is compressed (a bomb)': unsupported(
    zipBytes([{ ...data, method: 8, claimed: { original: 0xfffffffe } }]),
    /entry 'archive\/data\.pkl'.*compressed/,
  ),
  'with an entry that is encrypted': unsupported(
    zipBytes([{ ...data, flags: 1 }]),
    /archive\/data\.pkl.*encrypted/,
  ),
  'with an entry that grows': format(
    zipBytes([{ ...data, claimed: { original: 1e9 } }]),
    /contradicts itself about entry 'archive\/data\.pkl'/,
  ),
  'with an entry of another name inside': format(
    zipBytes([{ ...data, name: 'archive/data.xyz', claimed: { name: data.name } }]),
    /contradicts itself/,
  ),
  'with an entry beyond the end': format(
    zipBytes([{ ...data, claimed: { offset: 2 ** 31 } }]),
    /truncated|without/,
  ),
  'with an entry at 2^63': format(
    zipBytes([{ ...data, claimed: { offset: 0xffffffff, zip64: 1n << 63n } }]),
    /./,
  ),
  'with an entry longer than the file': format(
    zipBytes([data, { ...storage, claimed: { bytes: 2 ** 30 } }]),
    /too short for the 1073741824 bytes of entry 'archive\/data\/0'/,
  ),
  'with an entry inside of another': format(
    zipBytes([
      { name: 'archive/data/1', data: inner },
      { ...storage, claimed: { offset: 30 + 'archive/data/1'.length } },
      data,
    ]),
    /overlap/,
  ),
  'with two entries of one name': format(zipBytes([data, data]), /two entries called/),
  'without a pickle': format(zipBytes([storage]), /without a data\.pkl/),
  'with two pickles': format(zipBytes([data, { ...data, name: 'b/data.pkl' }]), /two data\.pkl/),
  'that is a program': unsupported(
    zipBytes([data, { name: 'archive/constants.pkl', data: data.data }]),
    /TorchScript/,
  ),
  'from a big-endian machine': unsupported(
    zipBytes([data, { name: 'archive/byteorder', data: Buffer.from('big') }]),
    /big-endian/,
  ),
}

// -------------------------------------------------------------------------------------------------
// The pickle

const system = global('os', 'system')
const refused = (bytes: Buffer, callee: string) =>
  unsupported(bytes, new RegExp(`'${callee}'.*nothing was run`))

export const hostilePickles: Record<string, HostileFile> = {
  'that calls os.system': refused(pickle(call(system, command)), 'os system'),
  'that calls os.system among its weights': refused(
    file([name, tensor()], ['x', call(system, command)]),
    'os system',
  ),
  'that calls posix.system by a name on the stack': refused(
    pickle(text('posix'), text('system'), byte(0x93), tuple(command), 'R'),
    'posix system',
  ),
  'that makes a Popen': refused(
    pickle(global('subprocess', 'Popen'), tuple(command), byte(0x81)),
    'subprocess Popen',
  ),
  'that makes a Popen with options': refused(
    pickle(global('subprocess', 'Popen'), tuple(command), '}', byte(0x92)),
    'subprocess Popen',
  ),
  'that calls eval in a storage': refused(
    pickle(call(global('builtins', 'eval'), python), 'Q'),
    'builtins eval',
  ),
  'that loads another pickle': refused(
    pickle(call(global('torch.storage', '_load_from_bytes'), command)),
    'torch.storage _load_from_bytes',
  ),
  'that gives a class a state': format(pickle(system, '}b'), /state/),
  'that calls what is no global': format(pickle(text('os'), tuple(command), 'R'), /no global/),
  'with an opcode of protocol 0 that calls': format(
    pickle('(', command, 'ios\nsystem\n'),
    /opcode 105/,
  ),
  'with an extension code': format(pickle(byte(0x82, 1)), /opcode 130/),
  'with an unknown opcode': format(pickle(byte(0xff)), /opcode 255/),
  'of protocol 9': format(torchArchive(byte(0x80, 9, 0x4e, 0x2e)), /protocol 9/),
  'that recalls what it has not kept': format(pickle('h', byte(7)), /recalls value 7/),
  'that takes from an empty stack': format(pickle('0'), /empty stack/),
  'that takes from below a mark': format(pickle('N(0'), /empty stack/),
  'that looks for a mark': format(pickle('Nt'), /mark/),
  'that sets items of a number': format(pickle('K', byte(1), 'NNs'), /no dictionary/),
  'that appends to a text': format(pickle(text('a'), 'Na'), /no list/),
  'with a key without a value': format(pickle('}(Nu'), /key without a value/),
  'that does not end': format(torchArchive(byte(0x80, 2, 0x4e)), /ends within a pickle/),
  'that is empty': format(torchArchive(Buffer.alloc(0)), /ends within a pickle/),
  'with a text longer than the file': format(
    pickle('X', u32(0xffffffff)),
    /ends within a text.*4294967295/,
  ),
  'with a text of 2^64 - 1 bytes': format(
    pickle(byte(0x8d), u64((1n << 64n) - 1n)),
    /18446744073709551615/,
  ),
  'with a name of a million bytes': format(
    pickle(global('a'.repeat(1e6), 'b')),
    /name of a module of more than 65536 bytes/,
  ),
  'of 100000 nested lists': format(
    pickle(']'.repeat(1e5), 'a'.repeat(1e5 - 1)),
    /nested deeper than 16/,
  ),
  'of a list in itself': format(pickle(']q\0h\0a'), /nested deeper than 16/),
  'of lists that double 15 times': format(
    pickle(']', `q\0](${'h\0'.repeat(64)}e`.repeat(5)),
    /mentions its parts too often/,
  ),
  'that mentions a large dictionary 20000 times': format(
    pickle(`}q\0(${'NN'.repeat(20000)}u0](${'h\0'.repeat(20000)}e`),
    /mentions its parts too often/,
  ),
  'of a million opcodes': format(pickle('N0'.repeat(5e5), 'N'), /more than 524288 opcodes/),
}

// -------------------------------------------------------------------------------------------------
// Tensors

const named = (message: RegExp) => new RegExp(`${name.replaceAll('.', '\\.')}.*${message.source}`)

export const hostileTensors: Record<string, HostileFile> = {
  'in a storage that is not there': format(viewed({ key: '7' }), named(/storage '7'/)),
  'in a storage that is said to be larger': format(
    viewed({ elements: 17 }),
    named(/17 elements.*64 bytes/),
  ),
  'in a storage of 2^63 - 1 elements': format(
    viewed({ elements: (1n << 63n) - 1n }),
    named(/9223372036854775807 elements/),
  ),
  'in a storage of an unknown class': unsupported(
    viewed({ storage: 'QUInt4x2Storage' }),
    /QUInt4x2Storage/,
  ),
  'in something that is no storage': format(
    file([
      name,
      call(
        global('torch._utils', '_rebuild_tensor_v2'),
        ...[persistent(text('x')), number(0), tuple(number(1)), tuple(number(1))],
      ),
    ]),
    /no storage of torch/,
  ),
  'whose shape overflows': format(
    viewed({ shape: [2n ** 40n, 2n ** 40n, 2n ** 40n] }),
    named(/overflows/),
  ),
  'whose shape is 0 by overflow': format(
    viewed({ shape: [2n ** 32n, 2n ** 32n], strides: [0, 0] }),
    named(/overflows/),
  ),
  'larger than its storage': format(viewed({ shape: [4, 5] }), named(/beyond its storage of 16/)),
  'behind its storage': format(viewed({ offset: 16 }), named(/beyond/)),
  'that begins at 2^62': format(viewed({ offset: 1n << 62n }), named(/beyond/)),
  'that begins before its storage': format(viewed({ offset: -1 }), named(/not described/)),
  'with strides that lead out': format(viewed({ strides: [1, 5] }), named(/beyond/)),
  'with strides that overflow': format(viewed({ strides: [(1n << 62n) + 1n, 4] }), named(/beyond/)),
  'with negative strides': format(viewed({ strides: [-4, 1], offset: 12 }), named(/strides/)),
  'of a negative size': format(viewed({ shape: [-4, 4] }), named(/shape/)),
  'of 2^40 elements that are one': format(
    viewed({ shape: [2 ** 40], strides: [0] }),
    named(/1099511627776 elements, more than the whole file/),
  ),
  'of nine dimensions': format(viewed({ shape: Array(9).fill(1) as number[] }), named(/at most 8/)),
  'with fewer strides than sizes': format(
    viewed({ strides: [1] }),
    named(/2 sizes, but 1 strides/),
  ),
  'without arguments': format(
    file([name, call(global('torch._utils', '_rebuild_tensor_v2'))]),
    named(/not described/),
  ),
  'that are parameters without a tensor': format(
    file([name, call(global('torch._utils', '_rebuild_parameter'), text('x'))]),
    named(/without a tensor/),
  ),
  'of one name': format(file([name, tensor()], [name, tensor()]), named(/twice/)),
  'of one name by nesting': format(
    file(['a.b', tensor()], ['a', dictionary([text('b'), tensor()])]),
    /'a\.b' twice/,
  ),
  'with a name of 2000 bytes': format(file(['n'.repeat(2000), tensor()]), /more than 1024 bytes/),
  'with a name that is not UTF-8': format(
    pickle(dictionary([Buffer.concat([byte(0x55, 2), byte(0xc3, 0x28)]), tensor()])),
    /UTF-8/,
  ),
}

// -------------------------------------------------------------------------------------------------
// The form from before torch 1.6

const legacyState = dictionary([text(name), pickledTensor(view, true)])
const legacy = legacyFile(legacyState, storages, 4)
const magic = legacy.subarray(0, 15)
const head = (protocol: number, littleEndian: number) =>
  Buffer.concat([
    ...[magic, whole(number(protocol))],
    whole(dictionary([text('little_endian'), byte(littleEndian)])),
  ])

export const hostileLegacy: Record<string, HostileFile> = {
  ...truncations(legacy, [14, 15, 16, 28, 60, 120, 200, legacy.length - 73]),
  ...truncations(legacy, [legacy.length - 72, legacy.length - 64, legacy.length - 1]),
  'of another protocol': unsupported(
    Buffer.concat([head(1000, 0x88), whole(legacyState), whole(list(text('0')))]),
    /protocol 1000/,
  ),
  'from a big-endian machine': unsupported(
    Buffer.concat([head(1001, 0x89), whole(legacyState), whole(list(text('0')))]),
    /big-endian/,
  ),
  'with a storage of 2^61 elements': format(
    Buffer.concat([
      ...[head(1001, 0x88), whole(legacyState), whole(list(text('0')))],
      ...[u64(1n << 61n), Buffer.alloc(64)],
    ]),
    /ends within storage '0'/,
  ),
  'with a storage that nothing refers to': format(
    legacyFile(legacyState, { '0': Buffer.alloc(64), '1': Buffer.alloc(8) }, 4),
    /nothing refers to/,
  ),
  'with one storage twice': format(
    Buffer.concat([
      ...[head(1001, 0x88), whole(legacyState), whole(list(text('0'), text('0')))],
      ...[u64(16), Buffer.alloc(64), u64(16), Buffer.alloc(64)],
    ]),
    /storage '0' twice/,
  ),
  'without a list of storages': format(
    Buffer.concat([head(1001, 0x88), whole(legacyState), whole(pickled.none)]),
    /no list of its storages/,
  ),
  'that calls os.system instead of naming its version': refused(
    Buffer.concat([magic, whole(call(system, command))]),
    'os system',
  ),
}

function truncations(bytes: Buffer, at: number[]): Record<string, HostileFile> {
  return Object.fromEntries(
    at.map((length) => [
      `cut off after byte ${length} of ${bytes.length}`,
      format(bytes.subarray(0, length), /./),
    ]),
  )
}
