/** magicmix-server, installed from its tarball beside that of magicmix. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

import { packageRoot } from '../support/package-root.js'
import { type Installed, installed } from './installed.js'

const run = promisify(execFile)

describe('magicmix-server, as a package', () => {
  let user: Installed
  before(async () => {
    user = await installed()
  })

  it('is said to be missing before it is there', async () => {
    await assert.rejects(user.run('npx', ['magicmix', 'serve']), /npm install magicmix-server/)
  })

  it('is installed, imported, required, and serves', async () => {
    const args = ['pack', '--silent', '-w', 'magicmix-server', '--pack-destination', user.folder]
    await run('npm', args, { cwd: packageRoot })
    const [tarball = ''] = (await readdir(user.folder)).filter((name) => name.endsWith('.tgz'))
    const { stdout } = await run('tar', ['-tzf', path.join(user.folder, tarball)])
    const files = stdout.trim().split('\n')
    const allowed =
      /^package\/(package\.json|README\.md|LICENSE|sbom\.cdx\.json|docs\/[\w-]+\.md|dist\/[\w/-]+\.(js|d\.ts)|dist\/studio\/[\w-]+\.(html|css|svg))$/
    assert.deepEqual(
      files.filter((name) => !allowed.test(name)),
      [],
    )
    await user.run('npm', ['install', `./${tarball}`, '--omit=dev', '--no-audit', '--no-fund'])
    const own = `import { createRequire } from 'node:module'
      import { createServer } from 'magicmix-server'
      console.log(createRequire(import.meta.url)('magicmix-server').createServer === createServer)`
    assert.equal(await user.runFile('server.mjs', own), 'true')

    const main = path.join(user.folder, 'node_modules', 'magicmix', 'dist', 'cli', 'main.js')
    const child = spawn(process.execPath, [main, 'serve', '--port', '0'], {
      cwd: user.folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const { value } = (await lines.next()) as { value: string }
    const address = /http:\S+/.exec(value)?.[0] ?? ''
    assert.equal((await fetch(`${address}/health/ready`)).status, 200)
    assert.match(await (await fetch(address)).text(), /magicmix studio/)
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })
})
