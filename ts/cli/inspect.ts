/** `magicmix inspect`: the contents of a checkpoint, without loading it; or the recipe of a picture. */
import { open } from 'node:fs/promises'

import { resolveModel } from '../hub/pull.js'
import type { ModelKind } from '../hub/selection.js'
import { beginsLikePicture } from '../input/picture-problem.js'
import { runJob } from '../native/job.js'
import { checkConfig } from '../models/load-options.js'
import { originalConfigOf } from '../models/original-config.js'
import type { NativeInspection } from '../native/contract.js'
import { type Arguments, type Command, UsageError } from './command.js'
import { configFlags, configFrom, tinyDecoderFrom, vaeFrom } from './model-options.js'
import { bytes, startReport } from './report.js'
import { describeRecipe } from './show-recipe.js'

export const command: Command = {
  name: 'inspect',
  usage: 'inspect [options] MODEL',
  summary: 'list the contents of a checkpoint, or the recipe of a picture',
  about: `Reads the headers of MODEL, a file, a diffusers folder or hf:NAME, and samples of its
weights. The exit code is 1 if it cannot be used for mixing. Of a picture it shows the recipe that
the picture carries.`,
  examples: ['magicmix inspect sd-v1-4.safetensors', 'magicmix inspect mix.png'],
  options: {
    tensors: { type: 'boolean', help: 'list every tensor' },
    ...configFlags,
  },
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<number> {
  const [model, ...more] = positionals
  if (model === undefined || more.length > 0) {
    throw new UsageError(`Expected one MODEL but received ${positionals.length} arguments`)
  }
  if (await isPicture(model)) {
    const { readRecipe } = await import('../recipe/read.js')
    const recipe = await readRecipe(model)
    console.log(values.json ? JSON.stringify(recipe) : describeRecipe(recipe))
    return 0
  }
  const config = checkConfig(configFrom(values))
  const path = await findModel(model, signal)
  const vaeName = vaeFrom(values)
  const vae = vaeName && (await findModel(vaeName, signal, 'vae'))
  const tinyName = tinyDecoderFrom(values)
  const tinyDecoder = tinyName && (await findModel(tinyName, signal, 'tinyDecoder'))
  const originalConfig = await originalConfigOf(path)
  const { native } = await import('../native/native.js')
  const inspection = await runJob(
    () => native().inspect(path, config, { vae, tinyDecoder, originalConfig }),
    () => undefined,
    { signal },
  )
  const { model: found, tensors, ...rest } = inspection
  if (values.json) {
    console.log(JSON.stringify({ ...rest, model: found, tensors }))
  } else {
    console.log(describe(inspection, Boolean(values.tensors)))
  }
  return found ? 0 : 1
}

/** By its first bytes. */
async function isPicture(file: string): Promise<boolean> {
  const handle = await open(file).catch(() => undefined)
  if (!handle) return false // which is explained for models
  try {
    if (!(await handle.stat()).isFile()) return false
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(64) })
    return beginsLikePicture(buffer.subarray(0, bytesRead))
  } finally {
    await handle.close()
  }
}

async function findModel(
  model: string,
  signal: AbortSignal,
  kind: ModelKind = 'model',
): Promise<string> {
  const report = startReport()
  try {
    return await resolveModel(model, { signal, onProgress: (event) => report.show(event) }, kind)
  } finally {
    report.end()
  }
}

function describe({ model, ...found }: NativeInspection, listTensors: boolean): string {
  const rows = [
    ['path', found.path],
    ['format', found.format],
    ['family', found.family || 'unknown'],
    ['size', bytes(found.fileBytes)],
    ['tensors', `${found.tensors.length} used, ${found.ignored.length} ignored`],
  ]
  if (model) {
    const { parameters, prediction, sizes, memory, nativeSize } = model
    const { textEncoder, textEncoder2, unet, vae } = sizes
    const described = ({ width, layers, heads }: typeof textEncoder) =>
      `width ${width}, ${layers} layers, ${heads} heads`
    const tiny = model.tinyDecoder
    rows.push(
      ['prediction', prediction],
      ['parameters', `${millions(parameters.total)}`],
      [
        'text encoder',
        `${millions(parameters.textEncoder)}, ${described(textEncoder)}` +
          (textEncoder2 ? `; the second ${described(textEncoder2)}` : ''),
      ],
      [
        'unet',
        `${millions(parameters.unet)}, channels ${unet.channels.join('/')}, ${unet.heads.join('/')} heads`,
      ],
      ['vae', `${millions(parameters.vae)}, channels ${vae.channels.join('/')}`],
      ['hashes', Object.values(model.hashes).join(' ')],
      ...(tiny
        ? [['tiny decoder', `${millions(tiny.parameters)}, channels ${tiny.channels.join('/')}`]]
        : []),
      [
        'memory',
        `about ${bytes(memory.weights)} for the weights, ${bytes(memory.textEncoders)} of them for text, and ${bytes(found.workingBytes)} ` +
          `for a mix of ${nativeSize} x ${nativeSize} (on the CPU)`,
      ],
    )
  }
  rows.push(...groups(found.tensors))
  const lines = rows.map(([name = '', value = '']) => name.padEnd(14) + value)
  if (listTensors) {
    const width = Math.max(0, ...found.tensors.map(({ name }) => name.length))
    for (const { name, type, shape } of found.tensors) {
      lines.push(`${name.padEnd(width)}  ${type.padEnd(4)}  ${shape.join(' x ')}`)
    }
  }
  lines.push('', found.problem ? `It cannot mix: ${found.problem}` : 'It can mix.')
  return lines.join('\n')
}

/** Numbers of tensors by type, for every part of the model. */
function groups(tensors: NativeInspection['tensors']): string[][] {
  const parts = {
    'text encoder': /^(cond_stage_model|conditioner)\./,
    unet: /^model\.diffusion_model\./,
    vae: /^first_stage_model\./,
  }
  return Object.entries(parts).map(([part, names]) => {
    const ofPart = tensors.filter(({ name }) => names.test(name))
    if (ofPart.length === 0) return [part, 'missing']
    const counts = new Map<string, number>()
    for (const { type } of ofPart) counts.set(type, (counts.get(type) ?? 0) + 1)
    const types = [...counts].map(([type, count]) => `${count} ${type}`).join(', ')
    const size = ofPart.reduce((sum, tensor) => sum + tensor.bytes, 0)
    return [part, `${bytes(size)} in tensors: ${types}`]
  })
}

function millions(parameters: number): string {
  return `${(parameters / 1e6).toFixed(1)} M`
}
