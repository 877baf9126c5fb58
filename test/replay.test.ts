/** `magicmix replay` and `magicmix inspect` of pictures. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { readRecipe } from 'magicmix'

import { addedFiles } from './support/added-files.js'
import { tinyModel } from './support/models.js'
import { fixture, packageRoot } from './support/package-root.js'
import { carrying } from './support/png-texts.js'

const bin = path.join(packageRoot, 'dist', 'cli', 'main.js')
const oneThread = ['--threads', '1']
const small = ['--width', '64', '--height', '64', '--steps', '4', '--seed', '7', ...oneThread]

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

describe('command line: replay', function () {
  this.timeout(120_000)
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-replay-'))
    await cp(fixture('landscape64.png'), at('layout.png'))
    await cp(fixture('landscape256.png'), at('other.png'))
    const { code, stderr } = await magicmix(['mix', 'layout.png', 'a tiger', ...small])
    assert.equal(code, 0, stderr)
  })
  after(() => rm(folder, { recursive: true }))
  const at = (...names: string[]) => path.join(folder, ...names)

  function magicmix(
    args: string[],
    variables: NodeJS.ProcessEnv = {},
    within = '.',
  ): Promise<Outcome> {
    const { MAGICMIX_MODEL, MAGICMIX_KERNELS, DEBUG, ...env } = process.env
    const child = spawn(process.execPath, [bin, ...args], {
      ...{ cwd: at(within), env: { ...env, ...variables } },
    })
    const outcome = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text))
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => resolve({ code, ...outcome }))
    })
  }
  const replay = (args: string[], variables?: NodeJS.ProcessEnv) =>
    magicmix(['replay', ...oneThread, ...args], variables)

  it('makes the same file again', async () => {
    const { code, stdout, stderr } = await replay(['mix.png'])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^Wrote replay\.png \(64 x 64, seed 7/)
    assert.doesNotMatch(stderr, /Not as it was/)
    assert.deepEqual(await readFile(at('replay.png')), await readFile(at('mix.png')))
  })

  it('in the format of the picture, and from elsewhere', async () => {
    for (const name of ['mix.jpg', 'mix.webp']) {
      await magicmix(['mix', '--layout-prompt', 'a heart', 'a tiger', '-o', name, ...small])
      await mkdir(at('elsewhere'), { recursive: true })
      await cp(at(name), at('elsewhere', name))
      const { code, stderr } = await replay([path.join('elsewhere', name)])
      assert.equal(code, 0, stderr)
      const replayed = at(name.replace('mix', 'replay'))
      assert.deepEqual(await readFile(replayed), await readFile(at(name)))
    }
    // The layout is found beside the picture, too.
    await mkdir(at('beside'))
    for (const name of ['mix.png', 'layout.png']) await cp(at(name), at('beside', name))
    await mkdir(at('here'))
    const program = path.join('beside', 'mix.png')
    const { code, stderr } = await replay([program, '-o', path.join('here', 'again.png')])
    assert.equal(code, 0, stderr)
    assert.deepEqual(await readFile(at('here', 'again.png')), await readFile(at('mix.png')))
  })

  it('with changes, as a mix with these', async () => {
    const changes = ['--nu', '0.4', '--content', 'a zebra', '--fast', 'safe']
    const changed = await replay(['mix.png', ...changes, '-o', 'changed.png'])
    assert.equal(changed.code, 0, changed.stderr)
    const mixed = ['mix', 'layout.png', 'a zebra', '--nu', '0.4', '--fast', 'safe', ...small]
    await magicmix([...mixed, '-o', 'mixed.png'])
    assert.deepEqual(await readFile(at('changed.png')), await readFile(at('mixed.png')))
    const prompted = await replay(['mix.png', '--layout-prompt', 'a hill', '-o', 'hill.png'])
    assert.equal(prompted.code, 0, prompted.stderr)
    assert.deepEqual((await readRecipe(at('hill.png'))).request.layout, { prompt: 'a hill' })
  })

  it('with maps, several layouts and contents, and a nu that changes', async () => {
    const several = ['layout.png', 'a tiger', '--also-layout', 'other.png=0.5', '--also-content']
    const args = ['mix', ...several, 'a zebra=0.5', '--nu-map', 'other.png', '--k-max-map']
    const made = await magicmix([...args, 'layout.png', '--nu', '0.2..0.9:cosine', ...small])
    assert.equal(made.code, 0, made.stderr)
    const recipe = await readRecipe(at('mix.png'))
    const { layouts, contents, nu } = recipe.request
    assert.deepEqual(
      [layouts?.map(({ weight }) => weight), contents?.map(({ prompt }) => prompt), nu],
      [[1, 0.5], ['a tiger', 'a zebra'], { from: 0.2, to: 0.9, curve: 'cosine' }],
    )
    const again = await replay(['mix.png', '-o', 'several.png'])
    assert.equal(again.code, 0, again.stderr)
    assert.deepEqual(await readFile(at('several.png')), await readFile(at('mix.png')))
    const shown = await magicmix(['inspect', 'mix.png'])
    assert.match(shown.stdout, /^layout +other\.png, 256 x 256.*weight 0\.5$/m)
    assert.match(shown.stdout, /^content +a zebra, weight 0\.5$/m)
    assert.match(shown.stdout, /^kMaxMap +layout\.png/m)

    // What the command line names takes the place of all of them.
    const changes = ['--layout', 'layout.png', '--content', 'a tiger', '--nu-map', 'layout.png']
    const changed = await replay(['mix.png', ...changes, '-o', 'one.png'])
    assert.equal(changed.code, 0, changed.stderr)
    const { request } = await readRecipe(at('one.png'))
    assert.deepEqual([request.content, request.layouts, request.contents], ['a tiger', null, null])
    assert.equal((request.nuMap as { path: string }).path, 'layout.png')

    await mkdir(at('without'))
    await cp(at('mix.png'), at('without', 'mix.png'))
    await cp(at('layout.png'), at('without', 'other.png'))
    const elsewhere = await magicmix(['replay', '../without/mix.png', ...oneThread], {}, 'without')
    assert.match(elsewhere.stderr, /layout.*layout\.png.*--layout FILE/)
    assert.equal(elsewhere.code, 1)
    // for the tests below
    await magicmix(['mix', 'layout.png', 'a tiger', ...small])
  })

  it('tells first that kernels and version are others', async () => {
    const recipe = await readRecipe(at('mix.png'))
    await writeFile(
      at('older.png'),
      await carrying({ ...recipe, made: { ...recipe.made, version: '0.0.9' } }),
    )
    const { code, stdout, stderr } = await replay(
      ['older.png', '--json', '-o', 'newer.png', '--precision', 'f32'],
      { MAGICMIX_KERNELS: 'portable' },
    )
    assert.equal(code, 0, stderr)
    const { version, kernels, precision } = recipe.made
    assert.match(stderr, new RegExp(`the version of magicmix \\(${version}, not 0\\.0\\.9\\)`))
    assert.match(stderr, new RegExp(`the kernels \\(portable, not ${kernels}\\)[^]*mixing`))
    const { differences } = JSON.parse(stdout) as { differences: { what: string }[] }
    assert.deepEqual(
      differences.map(({ what }) => what).sort(),
      [
        ...['the kernels', 'the version of magicmix'],
        ...(precision === 'f32' ? [] : ['the precision']),
      ].sort(),
    )
  })

  it('tells that the layout is another picture', async () => {
    await mkdir(at('changed'))
    await cp(at('mix.png'), at('changed', 'mix.png'))
    await cp(at('other.png'), at('changed', 'layout.png'))
    // The right one is here.
    const right = await replay([path.join('changed', 'mix.png'), '-o', 'right.png'])
    assert.equal(right.code, 0, right.stderr)
    const recipe = await readRecipe(at('mix.png'))
    const named = { ...(recipe.request.layout as object), path: 'other.png' }
    await writeFile(
      at('swapped.png'),
      await carrying({ ...recipe, request: { ...recipe.request, layout: named } }),
    )
    const wrong = await replay(['swapped.png', '-o', 'no.png'])
    assert.equal(wrong.code, 1)
    assert.match(wrong.stderr, /^magicmix: other\.png is another picture.*RECIPE_MISMATCH/m)
    assert.doesNotMatch(wrong.stderr, /loading/)
    const told = await replay(['swapped.png', '--layout', 'other.png', '-o', 'yes.png'])
    assert.equal(told.code, 0, told.stderr)
    assert.match(told.stderr, /^Not as it was: the layout picture .*\n[^]*loading/)
  })

  it('says what is missing, and how to name it', async () => {
    const recipe = await readRecipe(at('mix.png'))
    const { model, request } = recipe
    const lora = { file: 'style.safetensors', strength: 0.5 }
    const hash = '0'.repeat(16)
    const cases: [recipe: object, message: RegExp][] = [
      [
        {
          ...recipe,
          request: { ...request, layout: { ...(request.layout as object), path: 'no.png' } },
        },
        /names the layout no\.png, which is neither.*--layout FILE/,
      ],
      [
        { ...recipe, request: { ...request, layout: { sha256: recipe.layout!.sha256 } } },
        /has no name, only the SHA-256.*--layout FILE/,
      ],
      [
        { ...recipe, model: { ...model, name: 'sd.safetensors' } },
        /the model sd\.saf.*--model PATH/,
      ],
      [{ ...recipe, model: { ...model, name: 'hf:sd1.5' } }, /not fetched.*--model hf:sd1\.5/],
      [{ ...recipe, model: { ...model, vae: 'hf:a/vae' } }, /autoencoder hf:a\/vae.*--vae/],
      [
        { ...recipe, request: { ...request, loras: [lora] } },
        /the LoRA style\.safetensors.*--lora FILE=0\.5/,
      ],
      [
        { ...recipe, model: { ...model, tinyDecoder: { name: 'taesd', hash } } },
        /the tiny decoder taesd.*--tiny-decoder/,
      ],
      [
        {
          ...recipe,
          model: { ...model, embeddings: [{ placeholder: '<a>', name: 'a.pt', hash }] },
        },
        /the embedding a\.pt.*--embedding '<a>=FILE'/,
      ],
    ]
    for (const [changed, message] of cases) {
      await writeFile(at('case.png'), await carrying(changed))
      const { code, stderr } = await replay(['case.png', '-o', 'no.png'])
      assert.equal(code, 1, stderr)
      assert.match(stderr, message)
      assert.match(stderr, /\(RECIPE_MISMATCH\)/)
      assert.doesNotMatch(stderr, /loading/)
    }
  })

  it('refuses a model of that name with other weights, takes another that is named', async () => {
    const { file: lora } = await addedFiles(folder)
    const heads = ['--unet-heads', '4', '--text-heads', '2']
    await cp(await tinyModel(), at('model.safetensors'))
    const args = ['mix', 'layout.png', 'a tiger', '-o', 'tiny.png', '--lora', `${lora}=0.5`]
    const mixed = await magicmix([...args, '-m', 'model.safetensors', ...heads, ...small])
    assert.equal(mixed.code, 0, mixed.stderr)
    const same = await replay(['tiny.png', '-o', 'same.png'])
    assert.equal(same.code, 0, same.stderr)
    assert.doesNotMatch(same.stderr, /Not as it was/)
    assert.deepEqual(await readFile(at('same.png')), await readFile(at('tiny.png')))

    await cp(await tinyModel('F32'), at('model.safetensors'))
    const refused = await replay(['tiny.png', '-o', 'no.png', '--json'])
    assert.equal(refused.code, 1)
    const { error } = JSON.parse(refused.stdout) as { error: { code: string; details: object } }
    assert.equal(error.code, 'RECIPE_MISMATCH')
    assert.match(refused.stderr, /the model \(model\.safetensors: .*--model/)
    assert.doesNotMatch(refused.stderr, /mixing/)
    const told = await replay(['tiny.png', '-o', 'told.png', '-m', 'model.safetensors'])
    assert.equal(told.code, 0, told.stderr)
    assert.match(told.stderr, /^Not as it was: the model/m)

    await cp(await tinyModel(), at('model.safetensors'))
    const changed = await readFile(lora)
    changed[changed.length - 1]! ^= 1
    await writeFile(lora, changed)
    const other = await replay(['tiny.png', '-o', 'no.png'])
    assert.equal(other.code, 1)
    assert.match(other.stderr, /the LoRAs \(.*--lora/)
  })

  it('says what else is wrong', async () => {
    await writeFile(at('hostile.png'), await carrying('{"request": 1}'))
    const cases: [args: string[], code: number, message: RegExp][] = [
      [[], 2, /Expected one PICTURE/],
      [['none.png'], 1, /none\.png\) cannot be read.*PICTURE_UNREADABLE/],
      [['layout.png'], 1, /RECIPE_NOT_FOUND/],
      [['hostile.png'], 1, /RECIPE_INVALID/],
      [['mix.png', '--nu', '7'], 2, /for nu but received 7/],
      [['mix.png', '--layout', 'a', '--layout-prompt', 'b'], 2, /either --layout or/],
      [['mix.png', '--layout', 'none.png'], 1, /PICTURE_UNREADABLE/],
      [['mix.png', '-o', 'mix.gif'], 2, /a name ending in/],
    ]
    for (const [args, expected, message] of cases) {
      const { code, stdout, stderr } = await replay(args)
      assert.deepEqual([code, stdout], [expected, ''], stderr)
      assert.match(stderr, message)
      assert.doesNotMatch(stderr, /mixing|^ +at /m)
    }
  })

  it('is shown by inspect', async () => {
    const { code, stdout, stderr } = await magicmix(['inspect', 'mix.png'])
    assert.deepEqual([code, stderr], [0, ''])
    const recipe = await readRecipe(at('mix.png'))
    assert.match(stdout, /^content +a tiger$/m)
    assert.match(stdout, /^layout +layout\.png, 64 x 64, [\d.]+ KiB, SHA-256 [\da-f]{64}$/m)
    assert.match(stdout, /^seed +7$/m)
    assert.match(stdout, new RegExp(`^unet +hash ${recipe.model.hashes.unet}$`, 'm'))
    assert.doesNotMatch(stdout, /guidanceInterval|background/)
    const json = await magicmix(['inspect', 'mix.png', '--json'])
    assert.deepEqual(JSON.parse(json.stdout), recipe)
    const none = await magicmix(['inspect', 'layout.png'])
    assert.equal(none.code, 1)
    assert.match(none.stderr, /RECIPE_NOT_FOUND/)

    const { request } = recipe
    const content = 'a\x1b[2Jb\u202e\nc'
    await writeFile(
      at('escape.png'),
      await carrying({ ...recipe, request: { ...request, content } }),
    )
    const shown = await magicmix(['inspect', 'escape.png'])
    assert.match(shown.stdout, /^content +a\\u001b\[2Jb\\u202e\\u000ac$/m)
  })
})
