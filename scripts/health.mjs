/**
 * `npm run health`: whether both packages are in order as packages, in half a minute: nothing unused (knip), not larger
 * than it has to be (size-limit), every licence named, and their tarballs as npm, Node and TypeScript want them. The
 * tarballs stay in build/packed. What is packed has to be built.
 */
import path from 'node:path'

import { failedChecks, pack, passes } from './tarballs.mjs'
import { root } from './third-party.mjs'
import { tool } from './tool.mjs'

const script = (name) => path.join(root, 'scripts', name)
const failed = [
  ['unused files, exports and dependencies (knip)', [tool('knip'), '--no-progress']],
  ['sizes (size-limit)', [tool('size-limit')]],
  ['licences (THIRD-PARTY-NOTICES.md)', [script('notices.mjs'), '--check']],
]
  .filter(([what, args]) => !passes(what, args))
  .map(([what]) => what)

failed.push(...failedChecks(pack(path.join(root, 'build', 'packed'))))
if (failed.length > 0) {
  console.error(`Not in order: ${failed.join(', ')}`)
  process.exitCode = 1
}
