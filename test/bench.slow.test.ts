/** Every program under bench/, models/eval and packages/server/bench, run for a moment. Their figures mean nothing here. */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { packageRoot } from './support/package-root.js'
import { runNode } from './support/programs.js'

const box = path.join(packageRoot, 'models', 'world-128')
const pictures = path.join(tmpdir(), `magicmix-few-steps-${process.pid}`)
const figures = path.join(tmpdir(), `magicmix-choosing-${process.pid}`)
const tiny = ['--size', '64x64', '--threads', '1']

const programs: [program: string, args: string[], prints: RegExp][] = [
  [
    'bench/run.ts',
    ['--tiny', '--json', '--steps', '1', '--threads', '1'],
    /"shareOfCeiling":[\d.]+/,
  ],
  [
    'bench/run.ts',
    ['--tiny', '--only', 'step', '--json', '--steps', '1', '--threads', '1'],
    /"ceiling":\{"gflops":[\d.]+.*"step":\{"seconds":[\d.]+.*"shareOfCeiling":[\d.]+/,
  ],
  ['bench/mix.ts', ['--model', box, '--steps', '1', ...tiny], /^medianStepSeconds +[\d.]+$/m],
  [
    'bench/formats.ts',
    ['--tiny', '--types', 'q8_0', '--ranks', '2', ...tiny],
    /^LoRA of rank 2: /m,
  ],
  ['bench/event-loop.ts', ['--mixes', '1', ...tiny], /"p99": [\d.]+/],
  [
    'bench/shared.ts',
    ['--seconds', '1', '--size', '64x64'],
    /^three mixers in a process +[\d.]+ ms/m,
  ],
  ['bench/peers/run.ts', ['--list'], /^magicmix: \d/m],
  [
    'models/eval/few_steps.ts',
    [pictures, '--seeds', '1', '--contents', '1', '--only', 'lcm 4, nu 0.5'],
    /^\| lcm 4, nu 0\.5 +\| [\d.]+ \|/m,
  ],
  [
    'packages/server/bench/run.ts',
    ['--seconds', '0.2', '--mixes', '1', '--clients', '5', '--steps', '2'],
    /"addedMs": [\d.-]+/,
  ],
  [
    'models/eval/choosing.ts',
    [figures, '--pairs', '2', '--prompts', '1', '--steps', '4'],
    /^\| by scores, balance 0\.5 +\| [\d.]+ \|/m,
  ],
  [
    'models/eval/methods.ts',
    ['--seeds', '1', '--contents', '1', '--steps', '2', '--only', 'split'],
    /^\| split +\| [\d.]+% +\|/m,
  ],
  ['bench/load.ts', ['1'], /^require of magicmix: [\d.]+ ms$/m],
]

describe('bench', function () {
  this.timeout(300_000)
  after(() => {
    for (const folder of [pictures, figures]) rmSync(folder, { recursive: true, force: true })
  })

  for (const [program, args, prints] of programs) {
    it(program, async () => {
      const { code, stdout, stderr } = await runNode(
        ['--import', 'tsx', program, ...args],
        packageRoot,
      )
      assert.equal(code, 0, stderr)
      assert.match(stdout, prints)
    })
  }
})
