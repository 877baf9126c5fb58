/** The folder for things that would otherwise be made again: verdicts on devices, unpacked libraries. */
import { homedir } from 'node:os'
import path from 'node:path'

/** MAGICMIX_CACHE, or the place for such things on this system. */
export function cacheFolder(): string {
  const { MAGICMIX_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (MAGICMIX_CACHE) return path.resolve(MAGICMIX_CACHE)
  if (process.platform === 'win32' && LOCALAPPDATA) {
    return path.join(LOCALAPPDATA, 'magicmix', 'Cache')
  }
  if (process.platform === 'darwin') return path.join(homedir(), 'Library', 'Caches', 'magicmix')
  return path.join(XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'magicmix')
}
