import path from 'node:path'

/** The checkout's root folder. */
export const packageRoot = path.join(__dirname, '..', '..')

/** Path of a file in test/fixtures. */
export function fixture(name: string): string {
  return path.join(packageRoot, 'test', 'fixtures', name)
}
