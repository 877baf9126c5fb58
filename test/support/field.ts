/**
 * Files as people have them: test/fixtures/field holds cases with right answers, and a recipe that
 * builds their models out of the tiny one, which is made here in the forms that the recipe knows.
 */
import { readFileSync } from 'node:fs'
import { copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import type { LoadOptions, MixRequest } from 'magicmix'

import { ggufBytes, ggufTypes } from './gguf-writer.js'
import { made, tinyDiffusers, tinyModel } from './models.js'
import { fixture, packageRoot } from './package-root.js'
import { readSafetensors, tensorValues } from './safetensors.js'

/** `read_me` in the manifest says what the fields mean. */
export interface FieldCase {
  id: string
  about: string
  build?: { to: string }[]
  model: string
  load?: LoadOptions
  request?: {
    layout: string | { prompt: string }
    content: string
    negative: string
    guidance: number
    scales?: { text: string; scale: number }[]
  } & Partial<MixRequest>
  expected: { latent?: string; error?: string; tells?: string[]; model?: Record<string, unknown> }
}

const folder = fixture('field')
const manifest = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as {
  cases: FieldCase[]
}

export const fieldCases = manifest.cases
/** The last latents, by the names in `expected`. */
export const fieldLatents = readSafetensors(path.join(folder, 'expected.safetensors'))

export function fieldFile(name: string): string {
  return path.join(folder, name)
}

/** Builds what the case loads below `out`; gives the options of load and the request. */
export async function prepared(
  field: FieldCase,
  out: string,
): Promise<{ load: LoadOptions; request: MixRequest | undefined }> {
  const models = await fieldModels()
  const recipe = (await import(pathToFileURL(path.join(folder, 'recipe.mjs')).href)) as {
    build(field: FieldCase, places: { models: string; out: string }): void
  }
  recipe.build(field, { models, out })

  /** `built:`, `golden:models/` or `pack:`, or nothing, which is a file of the pack. */
  const place = (name: string) => {
    const [, kind, rest] = /^(?:(built|golden|pack):)?(.*)$/s.exec(name) as unknown as string[]
    if (kind === 'built') return path.join(out, rest!)
    if (kind !== 'golden') return path.join(folder, rest!)
    return path.join(models, path.relative('models', rest!))
  }
  const { loras, embeddings, vae, ...others } = (field.load ?? {}) as LoadOptions & { vae?: string }
  const load = {
    ...others,
    model: place(field.model),
    ...(loras && { loras: loras.map((lora) => ({ ...lora, file: place(lora.file) })) }),
    ...(embeddings && {
      embeddings: Object.fromEntries(
        Object.entries(embeddings).map(([name, file]) => [name, place(file)]),
      ),
    }),
    ...(vae && { vae: place(vae) }),
  }
  return { load, request: field.request && requestOf(field.request, place) }
}

function requestOf(
  { layout, negative, guidance, scales, ...others }: NonNullable<FieldCase['request']>,
  place: (name: string) => string,
): MixRequest {
  const picture = (name: string) => (name.includes('/') ? place(name) : fixture(name))
  return {
    ...others,
    layout: typeof layout === 'string' ? picture(layout) : layout,
    negativePrompt: negative,
    guidanceScale: guidance,
    ...(scales && { attention: scales }),
    trace: true,
  }
}

/** The folder that the recipe starts from: tiny/, tiny-f16.gguf and a VAE with old names. */
function fieldModels(): Promise<string> {
  return made('field-models', async (target) => {
    const tiny = path.join(target, 'tiny')
    await cp(await tinyDiffusers(), tiny, { recursive: true })
    await writeTokenizer(path.join(tiny, 'tokenizer'))
    await writeFile(path.join(target, 'tiny-f16.gguf'), await tinyGguf())
    const old = await tinyDiffusers({ oldAttentionNames: true })
    await copyFile(
      path.join(old, 'vae', 'diffusion_pytorch_model.safetensors'),
      path.join(target, 'tiny_vae_legacy_names.safetensors'),
    )
  })
}

/** Vectors are F32, of values that F16 has. */
async function tinyGguf(): Promise<Buffer> {
  const file = readSafetensors(await tinyModel())
  const tensors = Object.entries(file.header).map(([name, { shape, data_offsets }]) => {
    const vector = shape.length === 1
    const data = vector
      ? new Uint8Array((tensorValues(file, name) as Float32Array).buffer)
      : file.data.subarray(...data_offsets)
    return { name, shape, data, type: vector ? ggufTypes.F32 : ggufTypes.F16 }
  })
  return ggufBytes({ tensors })
}

/** CLIP's tokenizer as transformers saves it. */
async function writeTokenizer(target: string): Promise<void> {
  const merges = (await readFile(path.join(packageRoot, 'dist', 'clip-merges.txt'), 'utf8'))
    .trimEnd()
    .split('\n')
  const symbols = byteSymbols()
  const tokens = [
    ...symbols,
    ...symbols.map((symbol) => `${symbol}</w>`),
    ...merges.map((merge) => merge.replace(' ', '')),
    '<|startoftext|>',
    '<|endoftext|>',
  ]
  await mkdir(target)
  const write = (name: string, text: string) => writeFile(path.join(target, name), text)
  await write('merges.txt', ['#version: 0.2', ...merges, ''].join('\n'))
  await write('vocab.json', JSON.stringify(Object.fromEntries(tokens.map((t, id) => [t, id]))))
  await write(
    'tokenizer_config.json',
    JSON.stringify({
      tokenizer_class: 'CLIPTokenizer',
      model_max_length: 77,
      bos_token: '<|startoftext|>',
      eos_token: '<|endoftext|>',
      pad_token: '<|endoftext|>',
      unk_token: '<|endoftext|>',
      do_lower_case: true,
    }),
  )
}

/** GPT-2's alphabet for bytes: printable characters for themselves, then U+0100.. for the rest. */
function byteSymbols(): string[] {
  const range = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i)
  const printable = [...range(0x21, 0x7e), ...range(0xa1, 0xac), ...range(0xae, 0xff)]
  return [...printable, ...range(0x100, 0x100 + 255 - printable.length)].map((code) =>
    String.fromCharCode(code),
  )
}
