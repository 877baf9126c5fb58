/** What a GGUF file declares, read as the format is described. Independent of the one in C++. */
import { readFileSync } from 'node:fs'

export interface GgufDescription {
  /** Texts, numbers and lists of numbers by their keys. */
  readonly pairs: Record<string, unknown>
  readonly tensors: Record<string, GgufEntry>
}

export interface GgufEntry {
  /** The number that the format has for it: `ggufTypes`. */
  readonly type: number
  /** From the slowest axis to the fastest. */
  readonly shape: number[]
}

export function readGguf(file: string): GgufDescription {
  const bytes = readFileSync(file)
  let at = 'GGUF'.length + 4
  const u32 = () => bytes.readUInt32LE((at += 4) - 4)
  const u64 = () => Number(bytes.readBigUInt64LE((at += 8) - 8))
  const text = () => {
    const length = u64()
    return bytes.toString('utf8', at, (at += length))
  }
  const valueOf = (kind: number): unknown => {
    if (kind === 4) return u32()
    if (kind === 5) return bytes.readInt32LE((at += 4) - 4)
    if (kind === 8) return text()
    if (kind !== 9) throw new Error(`a key of type ${kind}, which convert does not write`)
    const element = u32()
    return Array.from({ length: u64() }, () => valueOf(element))
  }
  const [tensorCount, pairCount] = [u64(), u64()]
  const pairs: Record<string, unknown> = {}
  for (let i = 0; i < pairCount; i++) {
    const key = text()
    pairs[key] = valueOf(u32())
  }
  const tensors: Record<string, GgufEntry> = {}
  for (let i = 0; i < tensorCount; i++) {
    const name = text()
    const shape = Array.from({ length: u32() }, u64).reverse()
    tensors[name] = { type: u32(), shape }
    u64() // where its values lie
  }
  return { pairs, tensors }
}
