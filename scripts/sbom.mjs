/**
 * `npm pack` runs this: writes sbom.cdx.json (CycloneDX 1.6), of magicmix or, in its folder, of magicmix-server. What
 * npm installs along is told by cyclonedx-npm from the lock file; what is compiled in, and the models, by us. It is the
 * same for the same sources: no time, no serial number.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { Spec, Validation } from '@cyclonedx/cyclonedx-library'

import { root, vendoredParts } from './third-party.mjs'
import { tool } from './tool.mjs'

const folder = path.resolve('.')
const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
const text = `${JSON.stringify(manifest.name === 'magicmix' ? ofMagicmix() : ofServer(), null, 1)}\n`

const problem = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text)
if (problem) {
  console.error(`sbom.cdx.json: ${JSON.stringify(problem)}`)
  process.exit(1)
}
writeFileSync(path.join(folder, 'sbom.cdx.json'), text)

function ofMagicmix() {
  const bom = fromLockFile('--no-workspaces')
  const self = bom.metadata.component['bom-ref']
  // node-addon-api is a package that is installed along as well, and named there.
  const parts = vendoredParts().filter(({ name }) => name !== 'node-addon-api')
  const inside = [...parts.map(component), ...models()]
  bom.components.push(...inside)
  const ofSelf = bom.dependencies.find(({ ref }) => ref === self)
  ofSelf.dependsOn.push(...inside.map((each) => each['bom-ref']))
  bom.dependencies.push(...inside.map((each) => ({ ref: each['bom-ref'] })))
  return bom
}

/** cyclonedx-npm puts the root of the workspaces first; here it is the package that the server is used with. */
function ofServer() {
  const bom = fromLockFile('--workspace', manifest.name)
  const isServer = ({ name }) => name === manifest.name
  const self = bom.components.find(isServer)
  const main = { ...bom.metadata.component, type: 'library' }
  bom.metadata.component = { ...self, type: 'library' }
  bom.components = [main, ...bom.components.filter((each) => !isServer(each))]
  bom.dependencies = bom.dependencies.map(({ ref, dependsOn = [] }) => {
    if (ref === main['bom-ref']) return { ref }
    return ref === self['bom-ref']
      ? { ref, dependsOn: [main['bom-ref'], ...dependsOn] }
      : { ref, dependsOn }
  })
  return bom
}

function fromLockFile(...which) {
  const cyclonedx = tool('@cyclonedx/cyclonedx-npm', 'cyclonedx-npm')
  const what = ['--package-lock-only', '--omit', 'dev', '--mc-type', 'library', ...which]
  const how = ['--flatten-components', '--output-reproducible', '--spec-version', '1.6']
  const printed = execFileSync(process.execPath, [cyclonedx, ...what, ...how], {
    cwd: root,
    maxBuffer: 1e8,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(printed)
}

function component({ name, version, licence, where, purl, type = 'library' }) {
  const [group, short] = name.includes('/') ? name.split('/') : [undefined, name]
  return {
    type,
    ...(group ? { group } : {}),
    name: short,
    ...(version ? { version } : {}),
    'bom-ref': `inside|${name}`,
    description: where,
    licenses: [{ license: { id: licence } }],
    ...(purl ? { purl: version ? `${purl}@${version}` : purl } : {}),
  }
}

function models() {
  return ['world-128', 'world-128-lcm', 'world-128-tiny'].map((name) => ({
    type: 'machine-learning-model',
    name,
    version: manifest.version,
    'bom-ref': `inside|${name}`,
    description: `models/${name}, trained for this package on pictures that it draws`,
    licenses: [{ license: { id: 'MIT' } }],
    components: weightsOf(path.join(root, 'models', name)).map((file) => ({
      type: 'file',
      name: path.relative(root, file).split(path.sep).join('/'),
      'bom-ref': `inside|${path.relative(root, file).split(path.sep).join('/')}`,
      hashes: [
        { alg: 'SHA-256', content: createHash('sha256').update(readFileSync(file)).digest('hex') },
      ],
    })),
  }))
}

function weightsOf(place) {
  return readdirSync(place, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.safetensors'))
    .sort()
    .map((name) => path.join(place, name))
}
