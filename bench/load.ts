/** `npm run bench:load [-- RUNS]`: how long the addon and the whole package take to load, in fresh processes. */
import { execFileSync } from 'node:child_process'
import path from 'node:path'

import { machine } from './machine.js'

const root = path.join(__dirname, '..')
const addon = path.join(root, 'build', 'Release', 'magicmix.node')
const runs = Number(process.argv[2] ?? 20)

function median(target: string): number {
  const program = `const began = performance.now(); require(${JSON.stringify(target)});
    console.log(performance.now() - began)`
  const times = Array.from({ length: runs }, () =>
    Number(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' })),
  ).sort((a, b) => a - b)
  return times[Math.floor(runs / 2)] as number
}

console.log(machine())
console.log(`require of the addon alone: ${median(addon).toFixed(1)} ms (median of ${runs})`)
console.log(`require of magicmix: ${median(root).toFixed(1)} ms`)
