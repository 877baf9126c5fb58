/** What `npm run release` refuses, by name. Nothing here packs, and nothing could publish. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import { packageRoot } from './support/package-root.js'

interface Manifest {
  name: string
  version: string
  repository?: string
  peerDependencies?: Record<string, string>
}
interface Sources {
  main: Manifest
  server: Manifest
  changelog: string
  changes: string[]
}
interface Rules {
  faults(sources: Sources): string[]
  hindrances(sources: Sources): string[]
  refusals(env: Record<string, string>, version: string): string[]
}

const script = (name: string) => path.join(packageRoot, 'scripts', name)
const namesOf = (reasons: string[]) => reasons.map((reason) => reason.split(':')[0])

describe('releasing', () => {
  let rules: Rules
  before(async () => {
    rules = (await import(pathToFileURL(script('release-rules.mjs')).href)) as Rules
  })

  const good = (): Sources => ({
    main: { name: 'magicmix', version: '1.2.3', repository: 'somewhere' },
    server: {
      name: 'magicmix-server',
      version: '1.2.3',
      repository: 'somewhere',
      peerDependencies: { magicmix: '^1.2.3' },
    },
    changelog: '# Changelog\n\n## 1.2.3 (2026-11-27)\n\n- All.\n\n## 1.2.2 (2026-11-01)\n',
    changes: [],
  })
  const workflow = {
    GITHUB_ACTIONS: 'true',
    GITHUB_REF: 'refs/tags/v1.2.3',
    ACTIONS_ID_TOKEN_REQUEST_URL: 'somewhere',
  }

  it('has nothing against a release that is in order', () => {
    assert.deepEqual(rules.faults(good()), [])
    assert.deepEqual(rules.hindrances(good()), [])
    assert.deepEqual(rules.refusals(workflow, '1.2.3'), [])
  })

  it('sees versions that do not agree', () => {
    const sources = good()
    sources.server.version = '1.2.2'
    assert.deepEqual(namesOf(rules.faults(sources)), ['VERSIONS_DIFFER'])
    const other = good()
    other.server.peerDependencies = { magicmix: '^1.2.2' }
    assert.deepEqual(namesOf(rules.faults(other)), ['PEER_DIFFERS'])
    const early = { ...good(), changelog: '# Changelog\n\n## 1.2.2 (2026-11-01)\n' }
    assert.deepEqual(namesOf(rules.faults(early)), ['CHANGELOG_DIFFERS'])
    assert.deepEqual(namesOf(rules.faults({ ...good(), changelog: '' })), ['CHANGELOG_DIFFERS'])
  })

  it('sees what a release lacks', () => {
    const unreleased = { ...good(), changelog: '## 1.2.3 (unreleased)\n' }
    assert.deepEqual(namesOf(rules.hindrances(unreleased)), ['CHANGELOG_UNRELEASED'])
    assert.deepEqual(namesOf(rules.hindrances({ ...good(), changes: [' M package.json'] })), [
      'TREE_NOT_CLEAN',
    ])
    const sources = good()
    delete sources.server.repository
    assert.match(rules.hindrances(sources).join(), /^NO_REPOSITORY: .*magicmix-server$/)
  })

  it('publishes from the workflow of its tag alone', () => {
    assert.deepEqual(namesOf(rules.refusals({}, '1.2.3')), ['NOT_IN_CI'])
    assert.deepEqual(namesOf(rules.refusals({ CI: 'true' }, '1.2.3')), ['NOT_IN_CI'])
    assert.deepEqual(namesOf(rules.refusals(workflow, '1.2.4')), ['TAG_DIFFERS'])
    assert.deepEqual(namesOf(rules.refusals({ GITHUB_ACTIONS: 'true' }, '1.2.3')), [
      'TAG_DIFFERS',
      'NO_PROVENANCE',
    ])
  })

  it('refuses here, before anything else', () => {
    for (const args of [[], ['build/packed'], ['--publish']]) {
      const env = { ...process.env, GITHUB_ACTIONS: '' }
      const { status, stderr } = spawnSync(process.execPath, [script('release.mjs'), ...args], {
        encoding: 'utf8',
        env,
      })
      assert.equal(status, 1)
      assert.match(stderr, args[0] === '--publish' ? /^UNKNOWN_OPTION: --publish/ : /^NOT_IN_CI: /)
    }
  })
})
