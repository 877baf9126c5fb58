/**
 * When a release may be published. Each rule that is broken has a name, so that who reads a log can look for it here and in
 * CONTRIBUTING.md. Plain values in, so that tests can ask.
 */

/**
 * What has to be true wherever tarballs are made.
 * @param {{ main: object, server: object, changelog: string }} sources of package.json twice, and CHANGELOG.md
 * @returns {string[]} `NAME: what is wrong`
 */
export function faults({ main, server, changelog }) {
  const newest = newestIn(changelog)
  const peer = server.peerDependencies?.[main.name]
  return [
    ...(server.version === main.version
      ? []
      : [`VERSIONS_DIFFER: magicmix is ${main.version}, magicmix-server ${server.version}`]),
    ...(peer === `^${main.version}`
      ? []
      : [`PEER_DIFFERS: magicmix-server wants magicmix ${peer}, and not ^${main.version}`]),
    ...(newest.version === main.version
      ? []
      : [
          `CHANGELOG_DIFFERS: CHANGELOG.md begins with ${newest.version ?? 'no version'}, ` +
            `package.json says ${main.version}`,
        ]),
  ]
}

/** What a dry run only tells of, and what is refused when it counts. `changes`: of `git status --porcelain`. */
export function hindrances({ main, server, changelog, changes }) {
  const { version, date } = newestIn(changelog)
  const without = [main, server].filter(({ repository }) => !repository).map(({ name }) => name)
  return [
    ...(/^\d{4}-\d{2}-\d{2}$/.test(date ?? '')
      ? []
      : [`CHANGELOG_UNRELEASED: CHANGELOG.md has no date for ${version}: "${date ?? ''}"`]),
    ...(changes.length === 0
      ? []
      : [`TREE_NOT_CLEAN: ${changes.length} files differ from the commit, ${changes[0]} first`]),
    ...(without.length === 0
      ? []
      : [`NO_REPOSITORY: npm takes provenance only with "repository" in ${without.join(' and ')}`]),
  ]
}

/** Why this is no place to publish from. @param {NodeJS.ProcessEnv} env */
export function refusals(env, version) {
  if (env.GITHUB_ACTIONS !== 'true') {
    return [
      'NOT_IN_CI: only .github/workflows/release.yml publishes, so that everybody can see what a release was built ' +
        'from. Push a tag. Here: npm run release -- --dry-run',
    ]
  }
  return [
    ...(env.GITHUB_REF === `refs/tags/v${version}`
      ? []
      : [`TAG_DIFFERS: the workflow runs for ${env.GITHUB_REF ?? 'nothing'}, not for v${version}`]),
    ...(env.ACTIONS_ID_TOKEN_REQUEST_URL
      ? []
      : ['NO_PROVENANCE: the job lacks "id-token: write", without which nothing is attested']),
  ]
}

/** The first heading `## X.Y.Z (date)`. */
function newestIn(changelog) {
  const [, version, date] = /^## (\S+)(?: \((.*)\))?$/m.exec(changelog) ?? []
  return { version, date }
}
