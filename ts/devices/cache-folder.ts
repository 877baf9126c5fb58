/** The folder for things that would otherwise be made again: verdicts on devices, unpacked libraries. */
import path from 'node:path'

import { homeFolder } from '../home.js'

/** MAGICMIX_CACHE, or the place for such things on this system. */
export function cacheFolder(): string {
  const { MAGICMIX_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (MAGICMIX_CACHE) return path.resolve(MAGICMIX_CACHE)
  if (process.platform === 'win32' && LOCALAPPDATA) {
    return path.join(LOCALAPPDATA, 'magicmix', 'Cache')
  }
  if (process.platform === 'darwin') return path.join(home(), 'Library', 'Caches', 'magicmix')
  return path.join(XDG_CACHE_HOME || path.join(home(), '.cache'), 'magicmix')
}

const home = () => homeFolder('MAGICMIX_CACHE')
