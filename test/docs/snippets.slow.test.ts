/** Every code block of the documentation is run, or checked as far as that goes: see support/snippets.ts. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { transform } from 'esbuild'
import ts from 'typescript'
import { parse as parseYaml } from 'yaml'

import { type Command, readArguments } from '../../dist/cli/command.js'
import { packageRoot } from '../support/package-root.js'
import {
  type Snippet,
  ambient,
  ambientOfExamples,
  commented,
  pageFolder,
  pages,
  place,
  scopes,
  scripts,
  shells,
  snippetsOf,
  textOf,
} from '../support/snippets.js'

describe('the snippets of the documentation', function () {
  this.timeout(600_000)
  const ofPages = new Map(pages().map((page) => [page, snippetsOf(page)]))
  const ofComments = new Map(
    [...commented()].map(([name, files]) => [
      `the doc comments of ${name}`,
      files.flatMap(snippetsOf),
    ]),
  )
  const all = new Map([...ofPages, ...ofComments])
  const blocks = [...all.values()].flat()
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-docs-'))))
  after(() => rm(folder, { recursive: true, force: true }))

  for (const [page, snippets] of all) {
    const programs = scopes(snippets).filter(
      ({ language, treatment }) =>
        [...scripts, ...shells].includes(language) &&
        (treatment === 'run' || treatment === 'stays'),
    )
    if (programs.length === 0) continue
    it(`of ${page} work`, async () => {
      const own = path.join(folder, page.replaceAll(/[^\w]/g, '-'))
      await pageFolder(own)
      assert.deepEqual(await failuresOf(programs, own), [])
    })
  }

  for (const [what, snippets, declared] of [
    ['', ofPages, ambient],
    [' in doc comments, and import it', ofComments, ambientOfExamples],
  ] as const) {
    it(`have the types that they are used with${what}`, async () => {
      const own = path.join(folder, `types${what.length}`)
      await pageFolder(own)
      const typed = [...snippets.values()]
        .flatMap(scopes)
        .filter(
          ({ language, treatment }) =>
            (language === 'ts' && treatment !== 'not run') ||
            (scripts.includes(language) && treatment === 'types'),
        )
      assert.deepEqual(await typeErrorsOf(typed, own, declared), [])
    })
  }

  it('are written in what they say, and name options that exist', async () => {
    for (const block of blocks) {
      const { language, code, treatment } = block
      try {
        if (scripts.includes(language)) {
          await transform(code, { loader: language === 'ts' ? 'ts' : 'js' })
        } else if (shells.includes(language)) checkCommands(code)
        else if (language === 'json') JSON.parse(code)
        else if (language === 'yaml') parseYaml(code)
      } catch (error) {
        assert.fail(`${place(block)} (${treatment}): ${(error as Error).message}`)
      }
    }
  })
})

describe('what tries the snippets', function () {
  this.timeout(120_000)
  const page = path.join('docs', 'guides', 'none.md')
  const block = (code: string, language: string, line: number): Snippet => ({
    ...{ page, line, language, code, treatment: 'run' },
  })
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-docs-'))
    await pageFolder(folder)
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('tells what does not work, and where', async () => {
    const failures = await failuresOf(
      [
        block("await MagicMix.load({ model: 'none.gguf' })", 'js', 3),
        block('const one: number = 1\nconsole.log(one)', 'ts', 9),
        block('test -e corgi.jpg\nnpx magicmix inspect corgi.jpg | cat', 'sh', 14),
        block('test -e heart.png', 'sh', 20),
      ],
      folder,
    )
    assert.deepEqual(
      failures.map(({ place }) => place),
      [`${page}:3`, `${page}:14`],
    )
    assert.match(failures[0]!.problem, /none\.gguf/)
  })

  it('finds the examples of doc comments in the lines where they stand', () => {
    const files = [...commented().values()].flat()
    const examples = files.flatMap(snippetsOf)
    const tags = files.flatMap((file) => textOf(file).match(/^\s*\* @example$/gm) ?? [])
    assert.ok(examples.length > 150)
    assert.equal(examples.length, tags.length)
    for (const example of examples) {
      const there = textOf(example.page).split('\n')[example.line - 1]!
      assert.equal(there.trim(), `* ${example.code.split('\n')[0]}`, place(example))
    }
  })

  it('tells wrong types, and options that do not exist', async () => {
    const wrong = block('\nawait mixer.mix({ layout, content, nus: 1 })', 'ts', 30)
    const [error, ...others] = await typeErrorsOf([wrong], folder, ambient)
    assert.match(error!, /none\.md:31: .*'nus'/s)
    assert.deepEqual(others, [])
    assert.throws(() => checkCommands('npx magicmix mix a.png "a tiger" \\\n  --nux 1'), /--nux/)
    checkCommands('npx magicmix mix a.png "a tiger" --nu 1 # --nux')
  })
})

interface Failure {
  place: string
  problem: string
}

/** Runs the programs of a page in a process of their own. */
async function failuresOf(programs: readonly Snippet[], folder: string): Promise<Failure[]> {
  const port = await freePorts(['3000', '7860', '8080'])
  const steps = []
  for (const [number, program] of programs.entries()) {
    const { language, treatment } = program
    const code = program.code.replace(/\b(3000|7860|8080)\b/g, (usual) => port.get(usual)!)
    const isShell = shells.includes(language)
    const file = path.join(folder, `program-${number}.${isShell ? 'sh' : 'mjs'}`)
    await writeFile(file, isShell ? code : await compiled(code, language))
    steps.push({ place: place(program), file, stays: treatment === 'stays' })
  }
  const needsMixer = programs.some(
    ({ language, code }) =>
      scripts.includes(language) &&
      /\bmixer\b/.test(code) &&
      !/(const|using|let) mixer\b/.test(code),
  )
  await writeFile(path.join(folder, 'plan.json'), JSON.stringify({ steps, needsMixer }))
  const runner = require.resolve('../support/run-page.mjs')
  const child = spawn(process.execPath, [runner, 'plan.json'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      PATH: `${path.join(folder, '.bin')}${path.delimiter}${process.env.PATH}`,
      HOME: folder,
      HF_HUB_OFFLINE: '1',
      MAGICMIX_CACHE: path.join(folder, '.cache'),
      npm_config_offline: 'true',
    },
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const code = await new Promise((resolve) => child.once('close', resolve))
  const failures = await readFile(path.join(folder, 'failures.json'), 'utf8').catch(() => null)
  return failures === null
    ? [{ place: programs[0]!.page, problem: `exit code ${String(code)}: ${said}` }]
    : (JSON.parse(failures) as Failure[])
}

async function compiled(code: string, language: string): Promise<string> {
  const loader = language === 'ts' ? 'ts' : 'js'
  return (await transform(code, { loader, target: 'node20', format: 'esm' })).code
}

/** Ports that nobody listens at, in the place of those that the documentation names. */
async function freePorts(usual: readonly string[]): Promise<Map<string, string>> {
  const servers = await Promise.all(
    usual.map(async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  const ports = servers.map((server) => String((server.address() as { port: number }).port))
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return new Map(usual.map((name, i) => [name, ports[i]!]))
}

async function typeErrorsOf(
  snippets: readonly Snippet[],
  folder: string,
  declared: string,
): Promise<string[]> {
  const names = new Map<string, Snippet>()
  await writeFile(path.join(folder, 'ambient.d.ts'), declared)
  for (const [i, snippet] of snippets.entries()) {
    const file = path.join(folder, `snippet-${i}.mts`)
    names.set(file, snippet)
    await writeFile(file, `${snippet.code}\nexport {}\n`)
  }
  const program = ts.createProgram([path.join(folder, 'ambient.d.ts'), ...names.keys()], {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.Node16,
    moduleResolution: ts.ModuleResolutionKind.Node16,
    types: ['node'],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  })
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const message = ts.flattenDiagnosticMessageText(messageText, '\n')
    const snippet = file && names.get(path.normalize(file.fileName))
    if (!snippet) return `${file?.fileName ?? ''}: ${message}`
    const { line } = ts.getLineAndCharacterOfPosition(file, start ?? 0)
    return `${snippet.page}:${snippet.line + line}: ${message}`
  })
}

/** Reads the arguments of every command of magicmix, as the command line does. */
function checkCommands(code: string): void {
  const lines = code.replaceAll('\\\n', ' ').split('\n')
  for (const line of lines.flatMap((each) => each.split(/&&|\|\|?|;/))) {
    const words = wordsOf(line)
    const at = words.indexOf('magicmix')
    if (at < 0 || words[at + 1] === undefined || words[0] === 'npm') continue
    const [name, ...args] = words.slice(at + 1)
    if (!/^[a-z]+$/.test(name!)) continue
    const file = path.join(packageRoot, 'dist', 'cli', `${name}.js`)
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    const { command } = require(file) as { command: Command }
    readArguments(command, args.slice(0, endOf(args)))
  }
}

function endOf(args: readonly string[]): number {
  const end = args.findIndex((arg) => /^[&<>#]/.test(arg))
  return end < 0 ? args.length : end
}

function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([all, one, two]) => one ?? two ?? all,
  )
}
