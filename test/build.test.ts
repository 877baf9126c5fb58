/** What `magicmix build` refuses before it compiles; test/package/build.test.ts compiles. */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { packageRoot } from './support/package-root.js'

const tools = { cmake: '', 'g++': '', make: '' }

interface Outcome {
  code: number
  stdout: string
  stderr: string
}

describe('magicmix build', () => {
  // A package of its own: what fails here must not have the checkout's build at hand.
  let root: string
  let bin: string
  before(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'magicmix-build-'))
    bin = path.join(root, 'bin')
    await mkdir(bin)
    await cp(path.join(packageRoot, 'dist'), path.join(root, 'dist'), { recursive: true })
    // From it cmake-js knows that it need not download Node's headers; it wants a CMakeLists.txt.
    await cp(path.join(packageRoot, 'package.json'), path.join(root, 'package.json'))
    await writeFile(path.join(root, 'CMakeLists.txt'), '')
    const modules = path.join(root, 'node_modules')
    await symlink(path.join(packageRoot, 'node_modules'), modules, 'junction')
    await mkdir(path.join(root, 'build', 'Release'), { recursive: true })
    await writeFile(path.join(root, 'build', 'Release', 'magicmix.node'), 'what was there')
  })
  after(() => rm(root, { recursive: true, force: true }))

  /** On the PATH are these programs only; each does what its shell script says, mostly nothing. */
  async function build(
    args: readonly string[],
    programs: Readonly<Record<string, string>>,
    uid?: number,
  ): Promise<Outcome> {
    await rm(bin, { recursive: true })
    await mkdir(bin)
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    }
    const env = { PATH: bin, SystemRoot: process.env.SystemRoot }
    const command = [path.join(root, 'dist', 'cli', 'main.js'), 'build', ...args]
    const options = { env, uid: uid as number }
    return new Promise((resolve) => {
      execFile(process.execPath, command, options, (error, stdout, stderr) => {
        resolve({ code: Number(error?.code ?? 0), stdout, stderr })
      })
    })
  }

  it('explains itself', async () => {
    const { code, stdout } = await build(['--help'], {})
    assert.equal(code, 0)
    for (const option of ['--cuda', '--vulkan', '--metal', '-j, --jobs N']) {
      assert.ok(stdout.includes(option), option)
    }
  })

  for (const [args, message] of [
    [['-j', '0'], /number above 0 for -j/],
    [['-j', 'many'], /number for --jobs/],
    [['release'], /-DNAME=VALUE but received 'release'/],
    [['--', '--fresh'], /-DNAME=VALUE but received '--fresh'/],
    [['--cud'], /Did you mean --cuda/],
  ] as const) {
    it(`refuses ${args.join(' ')}`, async () => {
      const { code, stderr } = await build(args, tools)
      assert.match(stderr, message)
      assert.equal(code, 2)
    })
  }

  for (const { name, args, programs, message } of [
    { name: 'CMake', args: [], programs: {}, message: /CMake 3\.19 .* no 'cmake' on the PATH/ },
    { name: 'a compiler', args: [], programs: { cmake: '' }, message: /C\+\+17 .* no 'g\+\+' or/ },
    {
      name: 'make',
      args: [],
      programs: { cmake: '', 'clang++': '' },
      message: /no 'make' or 'ninja'/,
    },
    { name: 'CUDA', args: ['--cuda'], programs: tools, message: /CUDA .* no 'nvcc' on the PATH/ },
    {
      name: 'glslc',
      args: ['--vulkan'],
      programs: tools,
      message: /Vulkan .* no 'glslc' on the PATH/,
    },
  ]) {
    it(`says that ${name} is missing, and how to get it`, async function () {
      if (process.platform === 'win32') this.skip()
      const { code, stderr } = await build(args, programs)
      assert.match(stderr, message)
      assert.match(stderr, /For example: .*BUILD_FAILED/)
      assert.equal(code, 1)
    })
  }

  it('takes a program that is named otherwise', async function () {
    if (process.platform === 'win32') this.skip()
    const named = ['--vulkan', '--', '-DVulkan_GLSLC_EXECUTABLE=elsewhere']
    const { stderr } = await build(named, tools)
    assert.doesNotMatch(stderr, /no 'glslc'/)
  })

  it('refuses Metal where there is no Metal', async function () {
    if (process.platform === 'darwin') this.skip()
    const { code, stderr } = await build(['--metal'], tools)
    assert.match(stderr, /--metal needs a Mac/)
    assert.equal(code, 1)
  })

  it('says that the folder cannot be written to', async function () {
    if (process.platform === 'win32') this.skip()
    // Root may write everywhere; 65534 is nobody, who has to be allowed to read the checkout.
    const uid = process.getuid?.() === 0 ? 65534 : undefined
    if (uid && !mayRead(path.join(packageRoot, 'node_modules'), uid)) this.skip()
    await chmod(root, 0o555)
    try {
      const { code, stderr } = await build([], tools, uid)
      assert.match(stderr, /cannot be written to .*run this as the user who installed it/)
      assert.equal(code, 1)
    } finally {
      await chmod(root, 0o755)
    }
  })

  it('tells the first error, and leaves alone what was there', async function () {
    if (process.platform === 'win32') this.skip()
    const cmake = `
      if [ "$1" = --version ]; then echo cmake version 3.25.1; exit 0; fi
      echo 'CMake Error at third_party/vulkan.cmake:7 (find_package):'
      echo '  Could NOT find Vulkan (missing: glslc)'
      exit 1`
    const { code, stderr } = await build(['--vulkan'], { ...tools, glslc: '', cmake })
    assert.match(stderr, /The build failed: CMake Error .* Could NOT find Vulkan/)
    assert.match(stderr, /Needed is glslc .*headers of Vulkan 1\.4.*unchanged.*BUILD_FAILED/)
    assert.equal(code, 1)
    assert.deepEqual(await readdir(path.join(root, 'build', 'Release')), ['magicmix.node'])
    assert.ok(!(await readdir(root)).includes('build-new'))
  })

  it('keeps what was there when what was built cannot be loaded', async function () {
    if (process.platform === 'win32') this.skip()
    const release = path.join(root, 'build-new', 'Release')
    const cmake = `
      if [ "$1" = --version ]; then echo cmake version 3.25.1; exit 0; fi
      '${process.execPath}' -e "
        fs.mkdirSync('${release}', { recursive: true })
        fs.writeFileSync('${release}/magicmix.node', 'damaged')"`
    const { code, stderr } = await build([], { ...tools, cmake })
    assert.match(stderr, /What was built cannot be loaded: Error: .*BUILD_FAILED/)
    assert.equal(code, 1)
    const kept = await readFile(path.join(root, 'build', 'Release', 'magicmix.node'), 'utf8')
    assert.equal(kept, 'what was there')
  })
})

function mayRead(folder: string, uid: number): boolean {
  const read = ['-e', 'fs.readdirSync(process.argv[1])', folder]
  return spawnSync(process.execPath, read, { uid }).status === 0
}
