/** The cases of fixtures/field: files as people have them, and what PyTorch and PEFT make of them. */
import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { LoadOptions, MixRequest } from 'magicmix'

import { tinyDiffusers } from './models.js'
import { fixture } from './package-root.js'
import { readSafetensors, tensorValues } from './safetensors.js'

const folder = fixture('field')

/** As manifest.json has it; `read_me` there explains it. */
export interface FieldCase {
  id: string
  about: string
  model: string
  build?: object[]
  load?: { loras?: { file: string }[] }
  request: {
    layout: string | { prompt: string }
    negative: string
    guidance: number
    [option: string]: unknown
  }
  expected: { latent?: string }
}

/** Those whose ids match and that need nothing but the plain tiny model. */
export function fieldCases(ids: RegExp): FieldCase[] {
  const manifest = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as {
    cases: FieldCase[]
  }
  return manifest.cases.filter(({ id, model }) => ids.test(id) && model === 'golden:models/tiny')
}

export function fieldFile(name: string): string {
  return path.join(folder, name)
}

/** What to load for a case. */
export async function fieldOptions({ load }: FieldCase): Promise<LoadOptions> {
  return {
    ...{ model: await tinyDiffusers(), device: 'cpu', precision: 'f32', threads: 1, ...load },
    loras: (load?.loras ?? []).map((lora) => ({ ...lora, file: fieldFile(lora.file) })),
  }
}

export function fieldRequest({ request }: FieldCase): MixRequest {
  const { layout, negative, guidance, ...rest } = request
  return {
    ...(rest as unknown as MixRequest),
    ...{ negativePrompt: negative, guidanceScale: guidance, trace: true },
    layout: typeof layout === 'string' ? fixture(layout) : layout,
  }
}

/** The last latent that a case has to end in. */
export function fieldLatent({ id, expected }: FieldCase): ArrayLike<number> {
  if (expected.latent === undefined) throw new Error(`case ${id} has no latent`)
  return tensorValues(readSafetensors(fieldFile('expected.safetensors')), expected.latent)
}
