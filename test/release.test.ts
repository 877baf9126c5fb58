/** What `npm run release` refuses, by name, and what it says of where a tarball comes from. Nothing here packs or publishes. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
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
interface Dependency {
  uri: string
  digest: Record<string, string>
  annotations?: { changes: string[] }
}
interface Statement {
  _type: string
  subject: { name: string; digest: { sha512: string } }[]
  predicateType: string
  predicate: {
    buildDefinition: {
      externalParameters: Record<string, string>
      resolvedDependencies: Dependency[]
    }
    runDetails: { builder: { id: string }; metadata: Record<string, string> }
  }
}
interface Provenance {
  provenanceOf(tarball: object, made: object): Statement
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

  describe('where a tarball comes from', () => {
    let provenanceOf: Provenance['provenanceOf']
    before(async () => {
      const url = pathToFileURL(script('provenance.mjs')).href
      provenanceOf = ((await import(url)) as Provenance).provenanceOf
    })

    const sha512 = Buffer.alloc(64, 0xab)
    const tarball = (name: string) => ({ name, version: '1.2.3', sha512 })
    const made = {
      commit: 'c0ffee',
      changes: [] as string[],
      started: new Date(1000),
      finished: new Date(2000),
      env: {},
    }
    const partsOf = ({ predicate }: Statement) => predicate.buildDefinition.resolvedDependencies

    it('names what was made, the commit, and what is compiled in', () => {
      const statement = provenanceOf(tarball('magicmix'), made)
      assert.equal(statement._type, 'https://in-toto.io/Statement/v1')
      assert.equal(statement.predicateType, 'https://slsa.dev/provenance/v1')
      assert.deepEqual(statement.subject, [
        { name: 'pkg:npm/magicmix@1.2.3', digest: { sha512: 'ab'.repeat(64) } },
      ])
      const [commit, ...parts] = partsOf(statement)
      assert.deepEqual(commit, { uri: 'urn:x-magicmix:checkout', digest: { gitCommit: 'c0ffee' } })
      const { version } = JSON.parse(
        readFileSync(path.join(packageRoot, 'node_modules/node-addon-api/package.json'), 'utf8'),
      ) as { version: string }
      const addonApi = parts.find(({ uri }) => uri === `pkg:npm/node-addon-api@${version}`)
      assert.match(addonApi?.digest.sha512 ?? '', /^[0-9a-f]{128}$/)
      assert.match(statement.predicate.runDetails.builder.id, /by-hand$/)
      assert.deepEqual(
        partsOf(provenanceOf(tarball('magicmix-server'), made)),
        [commit],
        'nothing is compiled into the server',
      )
    })

    it('says which files differ from the commit', () => {
      const [commit] = partsOf(
        provenanceOf(tarball('magicmix'), { ...made, changes: [' M ts/index.ts'] }),
      )
      assert.deepEqual(commit?.annotations, { changes: [' M ts/index.ts'] })
    })

    it('names the workflow and its run, where there is one', () => {
      const env = {
        ...workflow,
        GITHUB_SERVER_URL: 'https://git.example',
        GITHUB_REPOSITORY: 'them/magicmix',
        GITHUB_RUN_ID: '7',
      }
      const { predicate } = provenanceOf(tarball('magicmix-server'), { ...made, env })
      const { buildDefinition, runDetails } = predicate
      assert.equal(
        runDetails.builder.id,
        'https://git.example/them/magicmix/.github/workflows/release.yml',
      )
      assert.equal(
        runDetails.metadata.invocationId,
        'https://git.example/them/magicmix/actions/runs/7',
      )
      assert.equal(
        buildDefinition.resolvedDependencies[0]?.uri,
        'git+https://git.example/them/magicmix@refs/tags/v1.2.3',
      )
    })
  })
})
