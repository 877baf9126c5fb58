/**
 * Where a tarball comes from, as the release's dry run writes it beside each: a statement in in-toto's form
 * (https://in-toto.io/Statement/v1) with SLSA's predicate (https://slsa.dev/spec/v1.0/provenance). It says what was packed,
 * from which commit and which parts, by what. It is not signed: npm signs its own, and only for the release's workflow.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'

import { root } from './third-party.mjs'

/** Of the lock file what is compiled into an addon. */
const compiledIn = ['ggml-source', 'node-addon-api']

/**
 * @param {{ name: string, version: string, sha512: Buffer }} tarball
 * @param {{ commit: string, changes: string[], started: Date, finished: Date, env: NodeJS.ProcessEnv }} made
 *   `changes`: of `git status --porcelain`
 */
export function provenanceOf({ name, version, sha512 }, made) {
  const { commit, changes, started, finished, env } = made
  const inWorkflow = env.GITHUB_ACTIONS === 'true'
  const repository = inWorkflow ? `${env.GITHUB_SERVER_URL}/${env.GITHUB_REPOSITORY}` : undefined
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: `pkg:npm/${name}@${version}`, digest: { sha512: sha512.toString('hex') } }],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:x-magicmix:npm-pack:v1',
        externalParameters: {
          command: 'npm run release -- --dry-run',
          package: name,
          ...(inWorkflow ? { repository, ref: env.GITHUB_REF } : {}),
        },
        internalParameters: {
          node: process.version,
          platform: `${process.platform}-${process.arch}`,
        },
        resolvedDependencies: [
          {
            uri: repository ? `git+${repository}@${env.GITHUB_REF}` : 'urn:x-magicmix:checkout',
            digest: { gitCommit: commit },
            // A commit says nothing of files that differ from it.
            ...(changes.length > 0 ? { annotations: { changes } } : {}),
          },
          ...(name === 'magicmix' ? [...lockedParts(), ...addons()] : []),
        ],
      },
      runDetails: {
        builder: {
          id: inWorkflow ? `${repository}/.github/workflows/release.yml` : 'urn:x-magicmix:by-hand',
        },
        metadata: {
          ...(inWorkflow
            ? { invocationId: `${repository}/actions/runs/${env.GITHUB_RUN_ID}` }
            : {}),
          startedOn: started.toISOString(),
          finishedOn: finished.toISOString(),
        },
      },
    },
  }
}

function lockedParts() {
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'))
  return compiledIn.map((folder) => {
    const { name = folder, version, integrity } = packages[`node_modules/${folder}`]
    const sha512 = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex')
    return { uri: `pkg:npm/${name}@${version}`, digest: { sha512 } }
  })
}

/** What was built before it was packed, perhaps on other machines. */
function addons() {
  const folder = path.join(root, 'prebuilds')
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort()
    .map((file) => ({
      uri: `file:${path.relative(root, file).split(path.sep).join('/')}`,
      digest: { sha256: createHash('sha256').update(readFileSync(file)).digest('hex') },
    }))
}
