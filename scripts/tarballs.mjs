/** Both packages as they are published: packing them, and what has to be true of the tarballs. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'

import { root, vendoredParts } from './third-party.mjs'
import { tool } from './tool.mjs'

const windows = process.platform === 'win32'

/** Packs both into a folder, from what is built; npm would build everything again, to the same end. */
export function pack(folder) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const quiet = ['--silent', '--ignore-scripts', '--pack-destination', folder]
  for (const which of [[], ['--workspace', 'magicmix-server']]) {
    npm(['run', '--silent', 'prepack', ...which])
    npm(['pack', ...quiet, ...which])
  }
  return tarballsIn(folder)
}

/** magicmix first: who installs the server at once finds what it needs. */
export function tarballsIn(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.tgz'))
    .map((name) => describe(path.join(folder, name)))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

function describe(file) {
  const { name, version } = jsonIn(file, 'package.json')
  const bytes = readFileSync(file)
  return {
    ...{ file, name, version },
    bytes: bytes.length,
    files: tar(['-tzf', file]).split('\n').filter(Boolean).length,
    sha512: createHash('sha512').update(bytes).digest(),
  }
}

const tar = (args) => spawnSync('tar', args, { encoding: 'utf8', maxBuffer: 1e8 }).stdout
const jsonIn = (file, name) => JSON.parse(tar(['-xOzf', file, `package/${name}`]))

/** Names of the checks that failed. `all`: with prebuilt addons for every platform. */
export function failedChecks(tarballs, { all = false } = {}) {
  const failed = []
  const check = (what, args) => {
    if (!passes(what, args)) failed.push(what)
  }
  for (const { file, name } of tarballs) {
    // The package that brings CUDA has neither types nor code.
    if (name.startsWith('magicmix-cuda')) continue
    check(`publint of ${name}`, [tool('publint'), 'run', file, '--strict'])
    check(`are-the-types-wrong of ${name}`, [
      tool('@arethetypeswrong/cli', 'attw'),
      file,
      '-f',
      'ascii',
    ])
    const wrong = wrongInSbom(file)
    console.log(
      `SBOM of ${name}: ${wrong.length === 0 ? 'clean' : `NOT CLEAN: ${wrong.join(', ')}`}`,
    )
    if (wrong.length > 0) failed.push(`SBOM of ${name}`)
    if (name !== 'magicmix') continue
    if (all || existsSync(path.join(root, 'prebuilds'))) {
      const script = path.join(root, 'scripts', 'check-package.mjs')
      check(`files of ${name}`, [script, file, ...(all ? ['--all'] : [])])
    } else {
      console.log(`files of ${name}: not checked, there are no prebuilds (npm run prebuilds)`)
    }
  }
  return failed
}

/** What a tarball's SBOM does not say rightly; that it keeps to the schema was seen when it was written. */
function wrongInSbom(file) {
  const { name, version, dependencies, peerDependencies = {} } = jsonIn(file, 'package.json')
  const { metadata, components } = jsonIn(file, 'sbom.cdx.json')
  const named = new Map(
    components.map((each) => [[each.group, each.name].filter(Boolean).join('/'), each.version]),
  )
  const parts = name === 'magicmix' ? vendoredParts() : []
  return [
    ...(metadata.component.name === name && metadata.component.version === version
      ? []
      : ['it is of another package']),
    ...Object.keys({ ...dependencies, ...peerDependencies })
      .filter((each) => !named.has(each))
      .map((each) => `${each} is not named`),
    ...parts
      .filter((part) => !named.has(part.name) || named.get(part.name) !== part.version)
      .map((part) => `${part.name} ${part.version ?? ''} is not named`),
  ]
}

/** Runs a program of Node's; shows what it printed only where it fails. */
export function passes(what, args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
  })
  console.log(`${what}: ${status === 0 ? 'clean' : 'NOT CLEAN'}`)
  if (status !== 0) console.error(`${stdout}${stderr}`)
  return status === 0
}

export function npm(args) {
  const command = windows ? 'npm.cmd' : 'npm'
  const stdio = ['ignore', 'ignore', 'inherit']
  const { status, error } = spawnSync(command, args, { cwd: root, stdio, shell: windows })
  if (error) throw error
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status}`)
}
