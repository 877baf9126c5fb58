/**
 * Where the package's files are. Electron packs an app into app.asar, a file that its JavaScript sees
 * as a folder; files that the system or C++ opens must lie in app.asar.unpacked beside it.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'

/** The package's root folder, seen from `dist/` and from `ts/` alike, for JavaScript. */
const packageRoot = path.join(__dirname, '..')

/** The same for the addon, its libraries and the models. */
export const nativeRoot = unpacked(packageRoot)

// The folders are written out, each from `__dirname`, so that tools which copy what a program needs
// (nft, in Next and at Vercel) find what is in them.
export const modelInTheBox = unpacked(path.join(__dirname, '..', 'models', 'world-128'))
/** The LoRA that makes a few-step model of it, for the sampler `lcm`. */
export const fewStepsInTheBox = unpacked(
  path.join(__dirname, '..', 'models', 'world-128-lcm', 'pytorch_lora_weights.safetensors'),
)
/** Only for those tools: the addon itself is found by node-gyp-build. @public */
export const builtAddons = unpacked(path.join(__dirname, '..', 'build', 'Release'))
/** The same. @public */
export const prebuiltAddons = unpacked(path.join(__dirname, '..', 'prebuilds'))

function unpacked(folder: string): string {
  return folder.replace(/\.asar(?=[/\\]|$)/, '.asar.unpacked')
}

/** The version in the package's package.json. */
export function packageVersion(): string {
  const file = path.join(__dirname, '..', 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
