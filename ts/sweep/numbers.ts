/** Numbers for values, the same for those that mean the same. */
import { isRecord } from '../options/validate.js'

/** Values of JSON are compared by what is in them, all others (bytes, `sharp` instances, streams) by identity. */
export class Numbers {
  private readonly byKey = new Map<string, number>()
  private readonly others = new Map<unknown, number>()

  of(value: unknown): number {
    return numberOf(this.byKey, this.keyOf(value))
  }

  private keyOf(value: unknown): string {
    if (Array.isArray(value)) return `[${value.map((each) => this.keyOf(each)).join()}]`
    if (isRecord(value) && Object.getPrototypeOf(value) === Object.prototype) {
      const fields = Object.entries(value)
        .filter(([, each]) => each !== undefined)
        .sort(([a], [b]) => (a < b ? -1 : 1))
      return `{${fields.map(([name, each]) => `${JSON.stringify(name)}:${this.keyOf(each)}`).join()}}`
    }
    const isPlain = Object(value) !== value && typeof value !== 'symbol'
    if (!isPlain) return `#${numberOf(this.others, value)}`
    return typeof value === 'string' ? JSON.stringify(value) : String(value)
  }
}

function numberOf<Key>(known: Map<Key, number>, key: Key): number {
  const number = known.get(key) ?? known.size
  known.set(key, number)
  return number
}
