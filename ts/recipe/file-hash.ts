/** Hashes that tell files apart, whatever their names and folders. */
import { createHash } from 'node:crypto'
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import path from 'node:path'

/** Files of up to that size are hashed whole; of larger ones samples, which takes milliseconds. */
const wholeBytes = 2 ** 20
const sampleBytes = 2 ** 14
const samples = wholeBytes / sampleBytes

/** What a LoRA's folder is read for. */
const ofLora = /^(adapter_model|adapter_config|pytorch_lora_weights)\./

/**
 * Of a LoRA or an embedding, 16 hexadecimal digits; '' if it cannot be read, which is the engine's to
 * report.
 */
export async function fileHash(file: string): Promise<string> {
  try {
    const found = await stat(file)
    if (found.isFile()) return await hashOf(file)
    if (!found.isDirectory()) return '' // opening a pipe may take for ever
    const names = (await readdir(file)).filter((name) => ofLora.test(name)).sort()
    const hashes = await Promise.all(names.map((name) => hashOf(path.join(file, name))))
    return hashes.length === 1 ? hashes[0]! : digest([Buffer.from(hashes.join())])
  } catch {
    return ''
  }
}

async function hashOf(file: string): Promise<string> {
  const handle = await open(file)
  try {
    const { size } = await handle.stat()
    const parts: Buffer[] = [Buffer.from(`${size}:`)]
    if (size <= wholeBytes) {
      parts.push(await read(handle, 0, size))
    } else {
      for (let i = 0; i < samples; i++) {
        const at = Math.floor(((size - sampleBytes) / (samples - 1)) * i)
        parts.push(await read(handle, at, sampleBytes))
      }
    }
    return digest(parts)
  } finally {
    await handle.close()
  }
}

async function read(file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes)
  const { bytesRead } = await file.read({ buffer, position })
  return buffer.subarray(0, bytesRead)
}

function digest(parts: readonly Buffer[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex').slice(0, 16)
}
