/** The user's home folder, for caches. */
import { homedir } from 'node:os'

import { MagicMixError } from './errors.js'

/**
 * @param instead what says where to put things if there is none: a variable's name
 * @throws {@link MagicMixError} INVALID_ARGUMENT for a user without one (an unknown uid in a container)
 */
export function homeFolder(instead: string): string {
  try {
    return homedir()
  } catch {
    throw new MagicMixError(
      'INVALID_ARGUMENT',
      `This user has no home folder: set HOME, or ${instead} to an absolute path`,
      { name: instead },
    )
  }
}
