/**
 * Runs the snippets of a page, one after the other, in the current folder: `node run-page.mjs plan.json`. The plan has a
 * list of `{ place, file }`, modules and shell scripts, with `stays` for commands that are left running. What fails is written to
 * `failures.json`.
 */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const { steps, needsMixer } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const require = createRequire(path.join(process.cwd(), 'page.js'))
const magicmix = require('magicmix')
const layout = 'heart.png'
const content = 'a photo of a tiger'
Object.assign(globalThis, magicmix, { require, layout, content, request: { layout, content } })
if (needsMixer) globalThis.mixer = await magicmix.MagicMix.load()

const staying = []
const failures = []
for (const { place, file, stays } of steps) {
  try {
    if (!file.endsWith('.sh')) await import(pathToFileURL(file).href)
    else if (stays) staying.push(await started(file))
    else await ended(file)
  } catch (error) {
    failures.push({ place, problem: error?.stack ?? String(error) })
  }
}
writeFileSync('failures.json', JSON.stringify(failures))
for (const child of staying) child.kill()
process.exit() // servers that snippets have started still listen

function shell(file) {
  return spawn('bash', ['-euo', 'pipefail', file], { stdio: ['ignore', 'pipe', 'pipe'] })
}

function ended(file) {
  return new Promise((resolve, reject) => {
    const child = shell(file)
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += text))
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`exit code ${code}: ${said}`)),
    )
  })
}

/** Once it says where it listens. */
function started(file) {
  return new Promise((resolve, reject) => {
    const child = shell(file)
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        said += text
        if (/http:\/\//.test(said)) resolve(child)
      })
    }
    child.once('error', reject)
    child.once('close', (code) => reject(new Error(`ended with ${code}: ${said}`)))
  })
}
