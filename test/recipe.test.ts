/** Recipes: how a picture was made, in the picture itself. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFile, cp, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import fc from 'fast-check'
import { MagicMix, type Mix, MagicMixError, type PictureFormat } from 'magicmix'
import { readRecipe, rewritePicture } from 'magicmix'
import type { LayoutPicture, LoadOptions, MixRequest, PictureRecipe } from 'magicmix'
import sharp from 'sharp'

import { formulaCheckpoint, tinyConfig } from './support/formula-model.js'
import { tinyDiffusers, tinyHeads, tinyModel } from './support/models.js'
import { fixture, packageRoot } from './support/package-root.js'
import { carrying, chunk, internationalText, pngWith } from './support/png-texts.js'
import { addedFiles } from './support/added-files.js'
import { coded } from './support/refusals.js'
import { tinyDecoders, writeTinyFile } from './support/tiny-decoders.js'
import { torchCheckpoint } from './support/torch-writer.js'

const formats: PictureFormat[] = ['png', 'jpeg', 'webp', 'avif', 'tiff']
const corgi = fixture('landscape64.png')
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const small = { width: 64, height: 64, steps: 2, kMax: 1, seed: 7 }
const base = { ...small, layout: corgi, content: 'a photo of a "Käse" 猫,\nyes', nu: 0.7 }

describe('a recipe', function () {
  this.timeout(120_000)
  let folder: string
  let mixer: MagicMix
  let mix: Mix
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-recipe-'))
    mixer = await MagicMix.load({ threads: 1 })
    mix = await mixer.mix(base)
  })
  after(async () => {
    await mixer.dispose()
    await rm(folder, { recursive: true })
  })
  const at = (name: string) => path.join(folder, name)

  describe('says', () => {
    it('what was asked for, and what made it', async () => {
      const { version } = JSON.parse(
        await readFile(path.join(packageRoot, 'package.json'), 'utf8'),
      ) as { version: string }
      const { request, layout, model, made } = mix.recipe
      const bytes = await readFile(corgi)
      assert.deepEqual(request.layout, { path: 'landscape64.png', sha256: sha256(bytes) })
      const size = { bytes: bytes.length, width: 64, height: 64 }
      assert.deepEqual(layout, { of: 'file', sha256: sha256(bytes), ...size })
      const { content, nu, seed, sampler } = request
      assert.deepEqual([content, nu, seed, sampler], [base.content, 0.7, 7, 'ddim'])
      assert.deepEqual([model.name, model.family], ['world-128', 'sd1'])
      assert.deepEqual(model.hashes, mixer.model.hashes)
      const { kernels, precision } = mixer.model
      assert.deepEqual(made, { version, device: 'cpu', kernels, precision })
    })

    it('of which picture the layout was, whatever its form', async () => {
      const bytes = await readFile(corgi)
      const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
      const pixels = { data, width: 64, height: 64, channels: info.channels as 3 }
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
      shared.set(bytes)
      const forms: [LayoutPicture, of: string, path?: string][] = [
        [pathToFileURL(corgi), 'file', 'landscape64.png'],
        [{ path: corgi }, 'file', 'landscape64.png'],
        [bytes, 'file'],
        [shared, 'file'],
        [new Blob([bytes]), 'file'],
        [pixels, 'pixels'],
        [sharp(bytes), 'pixels'],
      ]
      for (const [layout, of, name] of forms) {
        const { recipe } = await mixer.mix({ ...base, layout })
        const hash = sha256(of === 'file' ? bytes : data)
        assert.deepEqual([recipe.layout?.of, recipe.layout?.sha256], [of, hash])
        assert.deepEqual(recipe.request.layout, { ...(name ? { path: name } : {}), sha256: hash })
      }
      const { recipe } = await mixer.mix({ ...base, layout: { prompt: 'a hill' } })
      assert.deepEqual([recipe.layout, recipe.request.layout], [null, { prompt: 'a hill' }])
    })

    it('nothing of folders', async () => {
      await cp(corgi, at('layout.png'))
      const model = at('model')
      await cp(path.join(packageRoot, 'models', 'world-128'), model, { recursive: true })
      await using other = await MagicMix.load({ model, threads: 1 })
      const made = await other.mix({ ...base, layout: at('layout.png') })
      for (const format of formats) {
        const text = (await made.toBuffer({ format, recipe: true })).toString('latin1')
        assert.match(text, /"layout\.png"|&quot;layout\.png/)
        assert.ok(!text.includes(path.basename(folder)))
      }
      assert.equal(made.recipe.model.name, 'model')
      assert.deepEqual(made.recipe.model.hashes, mix.recipe.model.hashes)
      await using here = await MagicMix.load({ model: path.join(model, 'unet', '..'), threads: 1 })
      assert.equal((await here.mix(base)).recipe.model.name, 'model')
    })

    it('the files beside the model by name and contents', async () => {
      const { file: lora, embedding } = await addedFiles(folder)
      const renamed = at('renamed.safetensors')
      await copyFile(lora, renamed)
      const tinyDecoder = await writeTinyFile(at('taesd.safetensors'), tinyDecoders.small)
      const model = await tinyModel()
      await using other = await MagicMix.load({
        ...{ model, config: tinyHeads, precision: 'f32', threads: 1, clipSkip: 2 },
        ...{ vae: await tinyModel('F32'), embeddings: { '<toy>': embedding }, tinyDecoder },
      })
      const made = await other.mix({
        ...{ ...base, content: 'a <toy>' },
        loras: [{ file: lora, strength: 0.5 }, { file: renamed }],
      })
      const recipe = await readRecipe(await made.toBuffer({ recipe: true }))
      assert.deepEqual(recipe, made.recipe)
      const { vae, loras, embeddings, options } = recipe.model
      assert.equal(vae, path.basename(await tinyModel('F32')))
      assert.deepEqual(recipe.request.loras, [
        { file: path.basename(lora), strength: 0.5 },
        { file: 'renamed.safetensors', strength: 1 },
      ])
      assert.match(loras[0]!.hash, /^[\da-f]{16}$/)
      assert.equal(loras[1]!.hash, loras[0]!.hash)
      assert.equal(embeddings[0]!.placeholder, '<toy>')
      assert.match(embeddings[0]!.hash, /^[\da-f]{16}$/)
      assert.deepEqual(recipe.model.tinyDecoder, {
        name: 'taesd.safetensors',
        hash: other.model.tinyDecoder?.hash,
      })
      assert.deepEqual(options, {
        ...{ precision: 'f32', clipSkip: 2, keepOnCpu: [], config: tinyHeads },
      })
    })

    it('the same of the same weights in another format, another of others', async () => {
      const hashesOf = async (model: string, more: LoadOptions = {}) => {
        const plain = { config: tinyHeads, precision: 'f32', threads: 1 } as const
        await using loaded = await MagicMix.load({ model, ...plain, ...more })
        return loaded.model.hashes
      }
      const file = await tinyModel()
      const hashes = await hashesOf(file)
      assert.deepEqual(await hashesOf(await tinyDiffusers()), hashes)
      await writeFile(at('model.ckpt'), torchCheckpoint(formulaCheckpoint(tinyConfig, 'F16')))
      assert.deepEqual(await hashesOf(at('model.ckpt')), hashes)
      const { unet, vae, textEncoder } = await hashesOf(file, { vae: await tinyModel('F32') })
      assert.deepEqual([unet, textEncoder], [hashes.unet, hashes.textEncoder])
      assert.notEqual(vae, hashes.vae)

      const changed = at('changed.safetensors')
      await copyFile(file, changed)
      const handle = await open(changed, 'r+')
      const head = Number((await readFile(changed)).readBigUInt64LE(0))
      const header = JSON.parse((await readFile(changed)).toString('utf8', 8, 8 + head)) as Record<
        string,
        { data_offsets: [number, number] }
      >
      const [begin] = header['model.diffusion_model.out.2.weight']!.data_offsets
      await handle.write(Buffer.from([1]), 0, 1, 8 + head + begin)
      await handle.close()
      const other = await hashesOf(changed)
      assert.deepEqual([other.vae, other.textEncoder], [hashes.vae, hashes.textEncoder])
      assert.notEqual(other.unet, hashes.unet)
    })
  })

  for (const format of formats) {
    describe(`in ${format}`, () => {
      it('comes back from a file, and makes the same bytes again', async () => {
        const file = at(`mix.${format}`)
        await mix.toFile(file)
        const recipe = await readRecipe(file)
        assert.deepEqual(recipe, mix.recipe)
        const layout = { path: corgi, sha256: recipe.layout!.sha256 }
        const again = await mixer.mix({ ...recipe.request, layout })
        assert.deepEqual(again.data, mix.data)
        await again.toFile(at(`again.${format}`))
        assert.deepEqual(await readFile(at(`again.${format}`)), await readFile(file))
        assert.deepEqual(await readFile(file), await mix.toBuffer({ format, recipe: true }))
      })

      it('makes a mix by a layout prompt again, as it is', async () => {
        const made = await mixer.mix({ ...base, layout: { prompt: 'a photo of a heart' } })
        const { request } = await readRecipe(await made.toBuffer({ format, recipe: true }))
        assert.deepEqual((await mixer.mix(request)).data, made.data)
        const throughJson = JSON.parse(JSON.stringify(request)) as MixRequest
        assert.deepEqual((await mixer.mix(throughJson)).data, made.data)
      })

      it('stays where sharp is told to keep metadata', async () => {
        const bytes = await mix.toBuffer({ format, recipe: true })
        for (const other of formats) {
          const kept = await sharp(bytes).resize(32).keepMetadata().toFormat(other).toBuffer()
          assert.deepEqual(await readRecipe(kept), mix.recipe, other)
        }
        const without = await sharp(bytes).toBuffer()
        await assert.rejects(readRecipe(without), coded('RECIPE_NOT_FOUND', /taken out/))
      })
    })
  }

  it('is read from every form of a file', async () => {
    const bytes = await mix.toBuffer({ recipe: true })
    await writeFile(at('forms.png'), bytes)
    const dataUrl = `data:image/png;base64,${bytes.toString('base64')}`
    const forms = [
      ...[at('forms.png'), pathToFileURL(at('forms.png')), dataUrl, new URL(dataUrl)],
      ...[bytes, new Uint8Array(bytes), new Uint8Array(bytes).buffer, new Blob([bytes])],
      ...[new Response(bytes), new Blob([bytes]).stream()],
    ]
    for (const form of forms) assert.deepEqual(await readRecipe(form), mix.recipe)
  })

  it('is the same of a mixer in a process of its own', async () => {
    await using isolated = await MagicMix.load({ threads: 1, isolate: true })
    const made = await isolated.mix(base)
    assert.deepEqual(await made.toBuffer({ recipe: true }), await mix.toBuffer({ recipe: true }))
  })

  it('tells that the layout is another picture', async () => {
    await cp(corgi, at('changing.png'))
    const made = await mixer.mix({ ...base, layout: at('changing.png') })
    await cp(fixture('landscape256.png'), at('changing.png'))
    const { request, layout } = made.recipe
    const other = { path: at('changing.png'), sha256: layout!.sha256 }
    await assert.rejects(
      mixer.mix({ ...request, layout: other }),
      coded('PICTURE_UNREADABLE', /another picture/),
    )
  })

  it('of a layout without a name asks for the picture', async () => {
    const { recipe } = await mixer.mix({ ...base, layout: await readFile(corgi) })
    const { request } = await readRecipe(await carrying(recipe))
    await assert.rejects(mixer.mix(request), coded('INVALID_ARGUMENT', /the picture itself/))
    const again = await mixer.mix({ ...request, layout: corgi })
    assert.deepEqual(again.data, mix.data)
  })

  it('shows itself to other programs as parameters', async () => {
    const parameters = [
      base.content,
      'Negative prompt: blurry',
      'Steps: 2, Sampler: Euler a, CFG scale: 7.5, Seed: 7, Size: 64x64, Model: world-128, ' +
        'MagicMix layout: landscape64.png, MagicMix nu: 0.7, MagicMix k: 0.3 to 1, ' +
        `Version: magicmix ${mix.recipe.made.version}`,
    ].join('\n')
    const made = await mixer.mix({ ...base, negativePrompt: 'blurry', sampler: 'euler_a' })
    const { comments } = await sharp(await made.toBuffer({ recipe: true })).metadata()
    assert.deepEqual(
      comments?.map(({ keyword }) => keyword).sort(),
      ['magicmix', 'parameters'].sort(),
    )
    assert.equal(comments?.find(({ keyword }) => keyword === 'parameters')?.text, parameters)
    for (const format of ['jpeg', 'webp', 'avif'] as const) {
      const { exif } = await sharp(await made.toBuffer({ format, recipe: true })).metadata()
      const utf16 = Buffer.from(parameters, 'utf16le').swap16()
      assert.ok(exif?.includes(Buffer.concat([Buffer.from('UNICODE\0'), utf16])), format)
    }
  })

  it('goes into bytes only if it is asked for', async () => {
    for (const format of formats) {
      const bytes = await mix.toBuffer(format)
      assert.deepEqual(await mix.toBuffer({ format }), bytes)
      await assert.rejects(readRecipe(bytes), coded('RECIPE_NOT_FOUND', /carries no recipe/))
      const { data } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
      const carried = await mix.toBuffer({ format, recipe: true })
      assert.deepEqual(await sharp(carried).raw().toBuffer(), data)
    }
    for (const [options, code] of [
      [{ recipe: 1 }, 'INVALID_ARGUMENT'],
      [{ recipes: true }, 'UNKNOWN_OPTION'],
      [{ format: 'gif' }, 'INVALID_ARGUMENT'],
      [null, 'INVALID_ARGUMENT'],
    ] as const) {
      await assert.rejects(mix.toBuffer(options as never), { code })
    }
  })

  it('goes along into another format', async () => {
    const png = await mix.toBuffer({ format: 'png', recipe: true })
    for (const format of formats) {
      const rewritten = await rewritePicture(png, format)
      assert.deepEqual(await readRecipe(rewritten), mix.recipe, format)
      const own = await sharp(await mix.toBuffer(format))
        .raw()
        .toBuffer()
      assert.deepEqual(await sharp(rewritten).raw().toBuffer(), own, format)
    }
    await assert.rejects(rewritePicture(png, 'gif' as 'png'), { code: 'INVALID_ARGUMENT' })
    const without = await mix.toBuffer('png')
    await assert.rejects(rewritePicture(without, 'webp'), { code: 'RECIPE_NOT_FOUND' })
  })

  it('too long for a JPEG is refused there, not left out', async () => {
    const attention = Array.from({ length: 1500 }, () => ({ text: 'tiger', scale: 1.1 }))
    const made = await mixer.mix({ ...base, content: 'a tiger', attention })
    await assert.rejects(
      made.toFile(at('long.jpg')),
      coded('PICTURE_UNWRITABLE', /of which a JPEG holds 60000; write another format/),
    )
    await made.toFile(at('long.webp'))
    assert.deepEqual(await readRecipe(at('long.webp')), made.recipe)
  })

  it('is found in XMP that another program has written anew', async () => {
    const json = JSON.stringify(mix.recipe).replaceAll('&', '&#38;').replaceAll('"', '&#x22;')
    const namespace = `xmlns:mm='urn:magicmix:1.0:'`
    for (const written of [
      `<a ${namespace}><mm:recipe>${json}</mm:recipe></a>`,
      `<a ${namespace} mm:recipe="${json}"/>`,
      `<a mm:recipe='${json}' ${namespace}/>`,
    ]) {
      const picture = sharp(mix.data, { raw: { width: 64, height: 64, channels: 3 } })
      const bytes = await picture.withXmp(written).webp().toBuffer()
      assert.deepEqual(await readRecipe(bytes), mix.recipe)
    }
  })

  describe('is refused', () => {
    const changedBy = (change: (recipe: never) => unknown) => () => {
      const recipe = JSON.parse(JSON.stringify(mix.recipe)) as PictureRecipe
      change(recipe as never)
      return carrying(recipe)
    }
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    const invalid: Record<string, [picture: () => Promise<Buffer>, message: RegExp]> = {
      'that is no JSON': [() => carrying('{'), /JSON/],
      'that is none': [() => carrying([]), /Expected an object for the recipe/],
      'that is null': [() => carrying('null'), /the recipe/],
      'of megabytes': [() => carrying(`"${'a'.repeat(2 ** 20)}"`), /more than 1 MiB/],
      'of megabytes, compressed': [
        () => pngWith(internationalText('magicmix', Buffer.alloc(6e6, '['), true)),
        /more than 1 MiB/,
      ],
      'nested a thousandfold': [() => carrying(`{"request":${nested(1000)}}`), /nested/],
      'nested as deep as it gets': [() => carrying(nested(5e5)), /nested/],
      'without a request': [changedBy((r: { request?: 1 }) => delete r.request), /for request/],
      'without a model': [changedBy((r: { model?: 1 }) => delete r.model), /for model/],
      'without a seed': [
        changedBy((r: { request: { seed?: 1 } }) => delete r.request.seed),
        /request\.seed/,
      ],
      'with a wrong type': [
        changedBy((r: { request: { nu: unknown } }) => (r.request.nu = ['0.5'])),
        /between 0 and 1 for nu but received an array/,
      ],
      'with an option that is not known': [
        changedBy((r: { request: object; made: { version: string } }) => {
          Object.assign(r.request, { hue: 1 })
          r.made.version = '7.0.0'
        }),
        /no option 'hue'.*made by magicmix 7\.0\.0; this is /,
      ],
      'with a prototype': [
        () =>
          carrying(JSON.stringify(mix.recipe).replace('"request":{', '"request":{"__proto__":{},')),
        /__proto__/,
      ],
      'whose layout is in a folder': [
        changedBy((r: { request: { layout: object } }) => {
          Object.assign(r.request.layout, { path: '../../etc/passwd' })
        }),
        /without its folder/,
      ],
      'whose layout is any file': [
        changedBy((r: { request: object }) => Object.assign(r.request, { layout: '/etc/passwd' })),
        /request\.layout/,
      ],
      'whose layout is two pictures': [
        changedBy((r: { layout: object }) => Object.assign(r.layout, { sha256: '0'.repeat(64) })),
        /request\.layout\.sha256/,
      ],
      'whose LoRA is in a folder': [
        changedBy((r: { request: object }) => {
          Object.assign(r.request, { loras: [{ file: '/dev/zero', strength: 1 }] })
        }),
        /without its folder/,
      ],
      'whose LoRA is out of the hub': [
        changedBy((r: { request: object }) => {
          Object.assign(r.request, { loras: [{ file: 'hf:../../a', strength: 1 }] })
        }),
        /hf:NAME/,
      ],
      'whose model is in a folder': [
        changedBy((r: { model: { name: string } }) => (r.model.name = 'a/b')),
        /model\.name/,
      ],
      'whose hash is none': [
        changedBy((r: { model: { hashes: { unet: string } } }) => (r.model.hashes.unet = 'x')),
        /16 hexadecimal digits for model\.hashes\.unet/,
      ],
      'whose configuration is none': [
        changedBy((r: { model: { options: { config: unknown } } }) => {
          r.model.options.config = { unet: { heads: 1e9 } }
        }),
        /config\.unet\.heads/,
      ],
    }
    for (const [what, [picture, message]] of Object.entries(invalid)) {
      it(what, async () => {
        await assert.rejects(readRecipe(await picture()), coded('RECIPE_INVALID', message))
      })
    }

    const unreadable: [what: string, picture: () => unknown, code: string, message: RegExp][] = [
      ['that is not there', () => at('none.png'), 'PICTURE_UNREADABLE', /none\.png\).*ENOENT/],
      ['of a folder', () => folder, 'PICTURE_UNREADABLE', /no regular file/],
      ['of a text', () => Buffer.from('text'), 'PICTURE_UNREADABLE', /none of JPEG, PNG/],
      ['of no bytes', () => Buffer.alloc(0), 'PICTURE_UNREADABLE', /empty/],
      ['of a number', () => 7, 'INVALID_ARGUMENT', /file of a picture.*received 7/],
      ['of an empty name', () => '', 'INVALID_ARGUMENT', /file of a picture/],
      ['of pixels', () => sharp(corgi), 'INVALID_ARGUMENT', /file of a picture/],
      ['of a picture without', () => corgi, 'RECIPE_NOT_FOUND', /landscape64\.png\).*no recipe/],
    ]
    for (const [what, picture, code, message] of unreadable) {
      it(what, async () => {
        await assert.rejects(readRecipe(picture() as never), coded(code, message))
      })
    }

    it('in broken chunks, without harm', async () => {
      const bomb = internationalText('magicmix', Buffer.alloc(1e8, ' '), true)
      const cut = internationalText('magicmix', 'x').subarray(0, 10)
      const lying = chunk('iTXt', Buffer.from('magicmix'))
      lying.writeUInt32BE(0x7fffffff, 0)
      const many = Array.from({ length: 1000 }, (_, i) => internationalText(`k${i}`, 'x'))
      const unterminated = chunk('iTXt', Buffer.from('magicmix'))
      const notDeflated = chunk('iTXt', Buffer.from('magicmix\0\x01\0\0\0no stream'))
      for (const chunks of [[bomb], [cut], [lying], many, [unterminated], [notDeflated]]) {
        await assert.rejects(readRecipe(await pngWith(...chunks)), assertCoded)
      }
    })
  })

  it('is a recipe or a coded error, whatever is in it', async () => {
    const json = JSON.stringify(mix.recipe)
    const values = fc.jsonValue({ maxDepth: 4 })
    const paths = pathsIn(mix.recipe)
    let read = 0
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), values, async (where, value) => {
        const recipe = JSON.parse(json) as Record<string, unknown>
        put(recipe, where, value)
        try {
          const found = await readRecipe(await carrying(recipe))
          assert.deepEqual(await readRecipe(await carrying(found)), found)
          read++
        } catch (error) {
          assertCoded(error)
        }
      }),
      { numRuns: 300 },
    )
    assert.ok(read > 0)
  })

  it('is a recipe or a coded error, whatever becomes of its bytes', async () => {
    for (const format of formats) {
      const bytes = await mix.toBuffer({ format, recipe: true })
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 8 }),
          fc.nat(bytes.length),
          fc.boolean(),
          async (changes, length, isCut) => {
            const broken = Buffer.from(bytes)
            for (const [index, byte] of changes) broken[index] = byte
            const picture = isCut ? broken.subarray(0, length) : broken
            await readRecipe(picture).catch(assertCoded)
          },
        ),
        { numRuns: 60 },
      )
    }
  })
})

function assertCoded(error: unknown): true {
  assert.ok(error instanceof MagicMixError, String(error))
  assert.match(error.code, /^(RECIPE_INVALID|RECIPE_NOT_FOUND|PICTURE_UNREADABLE)$/)
  return true
}

type Path = readonly (string | number)[]

/** The places of all values in a value. */
function pathsIn(value: unknown, before: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [before]
  const inside = Object.entries(value).flatMap(([key, each]) => pathsIn(each, [...before, key]))
  return before.length > 0 ? [before, ...inside] : inside
}

function put(target: Record<string, unknown>, [first, ...rest]: Path, value: unknown): void {
  if (rest.length === 0) target[first!] = value
  else put(target[first!] as Record<string, unknown>, rest, value)
}
