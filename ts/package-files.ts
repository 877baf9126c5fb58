/**
 * Where the package's files are. Electron packs an app into app.asar, a file that its JavaScript sees
 * as a folder; files that the system or C++ opens must lie in app.asar.unpacked beside it.
 */
import path from 'node:path'

/** The package's root folder, seen from `dist/` and from `ts/` alike, for JavaScript. */
export const packageRoot = path.join(__dirname, '..')

/** The same for the addon, its libraries and the models. */
export const nativeRoot = packageRoot.replace(/\.asar(?=[/\\]|$)/, '.asar.unpacked')
