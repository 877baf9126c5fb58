/**
 * What a user has after `npm install magicmix`: the packed tarball, installed into an empty folder by
 * an npm that finds no compiler. Made once for all tests.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { packageRoot } from '../support/package-root.js'

const run = promisify(execFile)

export interface Installed {
  /** The folder of the package that depends on magicmix. */
  folder: string
  /** The environment without compilers. */
  env: NodeJS.ProcessEnv
  tarball: string
  /** Runs a program there, and gives what it printed. */
  run(command: string, args: string[], timeout?: number): Promise<string>
  /** Runs a source file there. */
  runFile(name: string, source: string, node?: string): Promise<string>
}

let made: Promise<Installed> | undefined

export function installed(): Promise<Installed> {
  return (made ??= install())
}

after(async () => {
  const { folder } = (await made?.catch(() => undefined)) ?? {}
  if (folder) await rm(path.dirname(folder), { recursive: true, force: true })
})

async function install(): Promise<Installed> {
  const place = await mkdtemp(path.join(tmpdir(), 'magicmix-package-'))
  const folder = path.join(place, 'consumer')
  const env = await withoutCompilers(place)
  await mkdir(folder)
  await writeFile(path.join(folder, 'package.json'), '{ "name": "consumer", "private": true }')
  const tarball = process.env['MAGICMIX_TARBALL'] ?? (await pack(place))
  const runHere = async (command: string, args: string[], timeout = 300_000) =>
    (await run(command, args, { cwd: folder, env, timeout })).stdout.trim()
  await runHere('npm', ['install', tarball, '--omit=dev', '--no-audit', '--no-fund'])
  return {
    folder,
    env,
    tarball,
    run: runHere,
    async runFile(name, source, node = 'node') {
      await writeFile(path.join(folder, name), source)
      return runHere(node, [name])
    },
  }
}

async function pack(place: string): Promise<string> {
  if (!existsSync(path.join(packageRoot, 'prebuilds'))) {
    throw new Error('There are no prebuilds to pack: run "npm run prebuilds" first')
  }
  await run('npm', ['pack', '--pack-destination', place], { cwd: packageRoot, maxBuffer: 1e8 })
  const [file] = (await readdir(place)).filter((name) => name.endsWith('.tgz'))
  return path.join(place, file as string)
}

/** PATH has Node, npm and a shell, and nothing that compiles. */
async function withoutCompilers(place: string): Promise<NodeJS.ProcessEnv> {
  const bin = path.join(place, 'bin')
  await mkdir(bin)
  for (const name of ['node', 'npm', 'npx', 'sh', 'env']) {
    const { stdout } = await run('/bin/sh', ['-c', `command -v ${name}`])
    await symlink(stdout.trim(), path.join(bin, name))
  }
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_OPTIONS)/.test(name))
  return {
    ...Object.fromEntries(kept),
    PATH: bin,
    MAGICMIX_CACHE: path.join(place, 'cache'),
  }
}
