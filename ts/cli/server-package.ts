/** The package magicmix-server, whose commands are here although this package does not depend on it. */
import { messageOf } from '../errors.js'
import { UsageError } from './command.js'

/** @throws UsageError where it is not installed */
export async function serverPackage<Package>(command: string): Promise<Package> {
  const name = 'magicmix-server'
  try {
    return (await import(name)) as Package
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
    if (!isMissing || !messageOf(error).includes(name)) throw error
    throw new UsageError(`${command} is in a package of its own: npm install ${name}`)
  }
}
