/** Writing safetensors files. */
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

/** How a file stores values. */
export type Dtype = 'F16' | 'F32' | 'BF16'

/** Bytes of one element. */
export const dtypeBytes: Readonly<Record<Dtype, number>> = { F16: 2, F32: 4, BF16: 2 }

/** A tensor of a checkpoint. */
export interface TensorSpec {
  name: string
  /** From the slowest axis to the fastest. */
  shape: number[]
}

/** A tensor to be stored under `name` with `shape`, whose bytes come from `chunks`. */
export interface StoredTensor extends TensorSpec {
  dtype: Dtype
  chunks: () => Iterable<Uint8Array>
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

/** Writes a safetensors file whose values are all zero: it takes no room on the disk. */
export async function writeHollowSafetensors(
  file: string,
  tensors: Omit<StoredTensor, 'chunks'>[],
): Promise<void> {
  const header = safetensorsHeader(tensors)
  const handle = await open(file, 'wx')
  try {
    await writeAll(handle, header)
    await handle.truncate(tensors.reduce((sum, each) => sum + byteLength(each), header.length))
  } finally {
    await handle.close()
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

function safetensorsHeader(tensors: Omit<StoredTensor, 'chunks'>[]): Uint8Array {
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

function byteLength({ shape, dtype }: Omit<StoredTensor, 'chunks'>): number {
  return shape.reduce((product, side) => product * side, dtypeBytes[dtype])
}
