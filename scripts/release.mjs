/**
 * `npm run release -- --dry-run` does all of a release but publishing: it looks at versions, changelog and tree, builds and
 * packs both packages with the addons that are in prebuilds/ (`--all`: which has to have every platform's), checks the
 * tarballs, writes beside each where it comes from, and says what would be published and attested. They stay in build/packed.
 * `npm run release -- FOLDER` publishes those that are there, and only in the workflow made for it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { provenanceOf } from './provenance.mjs'
import { faults, hindrances, refusals } from './release-rules.mjs'
import { failedChecks, npm, pack, tarballsIn } from './tarballs.mjs'
import { root } from './third-party.mjs'

const args = process.argv.slice(2)
const isDry = args.includes('--dry-run')
const all = isDry && args.includes('--all')
const folder = isDry ? undefined : args.find((arg) => !arg.startsWith('--'))
const unknown = args.filter((arg) => arg !== folder && !(isDry && /^--(dry-run|all)$/.test(arg)))
const sources = {
  main: manifest('package.json'),
  server: manifest('packages/server/package.json'),
  changelog: readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8'),
  changes: git('status', '--porcelain').split('\n').filter(Boolean),
}

if (unknown.length > 0) refuse([`UNKNOWN_OPTION: ${unknown.join(' ')}`])
else if (isDry) dryRun()
else publish()

function dryRun() {
  const started = new Date()
  const wrong = faults(sources)
  if (wrong.length > 0) return refuse(wrong)
  for (const script of ['build:ts', 'build:server']) npm(['run', '--silent', script])
  const tarballs = pack(path.join(root, 'build', 'packed'))
  const failed = failedChecks(tarballs, { all })
  if (failed.length > 0) return refuse(failed.map((name) => `CHECK_FAILED: ${name}`))

  const commit = git('rev-parse', 'HEAD').trim()
  const made = { commit, changes: sources.changes, started, finished: new Date(), env: process.env }
  for (const each of tarballs) {
    const statement = JSON.stringify(provenanceOf(each, made), null, 2)
    writeFileSync(provenanceFile(each), `${statement}\n`)
  }

  console.log('\nWould be published, with npm publish --provenance --access public:')
  for (const each of tarballs) {
    console.log(`  ${each.name}@${each.version}  ${megabytes(each.bytes)}, ${each.files} files`)
    console.log(`    ${path.relative(root, each.file)}`)
    console.log(`    integrity sha512-${each.sha512.toString('base64')}`)
    console.log(`    provenance, not signed: ${path.relative(root, provenanceFile(each))}`)
  }
  console.log(
    'Would be attested by npm for each (SLSA provenance v1, signed for the workflow, in the public log):',
  )
  for (const { name, version, sha512 } of tarballs) {
    console.log(`  pkg:npm/${name}@${version} sha512:${sha512.toString('hex').slice(0, 16)}...`)
  }
  console.log(`  built by .github/workflows/release.yml for refs/tags/v${sources.main.version}`)
  console.log(`  from commit ${commit}`)
  console.log(
    'Tarballs made here are not those of a release, and nothing has been attested or published.',
  )
  const ahead = [...hindrances(sources), ...refusals(process.env, sources.main.version)]
  if (ahead.length > 0) console.log('\nWhat a release would be refused for, here and now:')
  for (const each of ahead) console.log(`  ${each}`)
}

function publish() {
  const { version } = sources.main
  const wrong = [...refusals(process.env, version), ...faults(sources), ...hindrances(sources)]
  if (wrong.length > 0) return refuse(wrong)
  if (!folder) return refuse(['NO_TARBALLS: name the folder with the tarballs'])
  const tarballs = tarballsIn(folder)
  const names = tarballs.map(({ name }) => name)
  const missing = ['magicmix', 'magicmix-server'].filter((name) => !names.includes(name))
  if (missing.length > 0)
    return refuse([`NO_TARBALLS: none of ${missing.join(' and ')} in ${folder}`])
  const others = tarballs.filter((each) => each.version !== version)
  if (others.length > 0) {
    return refuse(
      others.map((each) => `TARBALL_DIFFERS: ${each.name} in ${folder} is ${each.version}`),
    )
  }
  for (const { file, name } of tarballs) {
    const { status } = spawnSync('npm', ['publish', file, '--provenance', '--access', 'public'], {
      stdio: 'inherit',
    })
    if (status !== 0) return refuse([`NOT_PUBLISHED: ${name}; npm ended with ${status}`])
  }
}

function provenanceFile({ file }) {
  return file.replace(/\.tgz$/, '.intoto.json')
}

function refuse(reasons) {
  for (const reason of reasons) console.error(reason)
  process.exitCode = 1
}

function manifest(name) {
  return JSON.parse(readFileSync(path.join(root, name), 'utf8'))
}

function git(...args) {
  return execFileSync('git', ['-c', `safe.directory=${root}`, ...args], {
    cwd: root,
    encoding: 'utf8',
  })
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
