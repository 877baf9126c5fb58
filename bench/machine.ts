import os from 'node:os'

/** What a measurement was made on. */
export function machine(): string {
  const cpus = os.cpus()
  const memory = Math.round(os.totalmem() / 2 ** 30)
  return `${cpus.length} x ${cpus[0]?.model.trim() ?? os.arch()}, ${memory} GiB, Node ${process.version}`
}
