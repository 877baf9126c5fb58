/** Reading and forging safetensors files. */
import { readFileSync } from 'node:fs'

import { dtypeBytes } from './safetensors-writer.js'
import type { Dtype } from './safetensors-writer.js'

export interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/** A file as its two parts; `header` may hold nonsense. */
export interface SafetensorsFile {
  header: Record<string, Entry>
  data: Buffer
}

export function readSafetensors(file: string): SafetensorsFile {
  const bytes = readFileSync(file)
  const headerBytes = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes)) as Record<string, Entry>
  return { header, data: bytes.subarray(8 + headerBytes) }
}

/** The bytes of a file with this header, given as JSON text or as an object. */
export function safetensorsBytes(header: object | string, data: Uint8Array): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header), 'utf8')
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, data])
}

/** The header of tensors that lie one after the other, and the bytes that they take. */
export function headerOf(
  tensors: readonly { name: string; shape: number[] }[],
  dtype: Dtype,
): { header: Record<string, Entry>; dataBytes: number } {
  let end = 0
  const entries = tensors.map(({ name, shape }) => {
    const begin = end
    end += shape.reduce((product, side) => product * side, dtypeBytes[dtype])
    return [name, { dtype, shape, data_offsets: [begin, end] }] as const
  })
  return { header: Object.fromEntries(entries) as Record<string, Entry>, dataBytes: end }
}

/** One tensor's values, whatever number type it has. */
export function tensorValues({ header, data }: SafetensorsFile, name: string): ArrayLike<number> {
  const entry = header[name]
  if (entry === undefined) throw new Error(`no tensor '${name}' in the fixture`)
  // a copy, because the data of a file need not be aligned in memory
  const { buffer } = new Uint8Array(data.subarray(...entry.data_offsets))
  switch (entry.dtype) {
    case 'F32':
      return new Float32Array(buffer)
    case 'I32':
      return new Int32Array(buffer)
    case 'U8':
      return new Uint8Array(buffer)
    case 'F16':
      return Float32Array.from(new Uint16Array(buffer), singleOfHalf)
    default:
      throw new Error(`'${name}' is of dtype ${entry.dtype}, which no fixture uses`)
  }
}

export function singleOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
