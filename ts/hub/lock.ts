/** One at a time, across processes: a file that only one can create. */
import { mkdir, open, rm, stat, utimes } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** A holder touches the file every second; 15 s of silence means it died. */
const staleAfterMs = 15_000

/** Waits until nobody else holds the lock `file`, then runs `work` holding it. */
export async function holding<T>(
  file: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(path.dirname(file), { recursive: true })
  while (!(await take(file))) {
    if (await isStale(file)) await rm(file, { force: true })
    else await pause(200, undefined, { signal })
  }
  const alive = setInterval(() => {
    const now = new Date()
    utimes(file, now, now).catch(() => undefined)
  }, 1000)
  try {
    return await work()
  } finally {
    clearInterval(alive)
    await rm(file, { force: true })
  }
}

async function take(file: string): Promise<boolean> {
  try {
    await (await open(file, 'wx')).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function isStale(file: string): Promise<boolean> {
  const found = await stat(file).catch(() => undefined)
  return found !== undefined && Date.now() - found.mtimeMs > staleAfterMs
}
