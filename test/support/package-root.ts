import { existsSync } from 'node:fs'
import path from 'node:path'

/** The checkout's root folder. */
export const packageRoot = path.join(__dirname, '..', '..')

/** Path of a file in test/fixtures. */
export function fixture(name: string): string {
  return path.join(packageRoot, 'test', 'fixtures', name)
}

/** A program that was built with the addon: see MAGICMIX_PROGRAMS in CMakeLists.txt. */
export function builtProgram(name: string): string {
  const folders = ['build', path.join('build', 'Release')].map((each) =>
    path.join(packageRoot, each),
  )
  const files = folders.map((folder) =>
    path.join(folder, process.platform === 'win32' ? `${name}.exe` : name),
  )
  const found = files.find((file) => existsSync(file))
  if (!found) throw new Error(`${name} is not built: npm run build:native`)
  return found
}
