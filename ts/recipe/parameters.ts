/**
 * A recipe in the lines that the AUTOMATIC1111 web UI writes, under the name `parameters`, and many programs
 * show: the prompt, the negative prompt, and pairs of names and values.
 */
import type { SamplerName } from '../request/mix-options.js'
import { methodLabel, nameOf } from '../request/method.js'
import { isPrompt } from '../input/layout.js'
import type { Recipe } from '../request/recipe.js'
import type { PictureRecipe } from './picture-recipe.js'

const samplerNames: Readonly<Record<SamplerName, string>> = {
  ddim: 'DDIM',
  euler: 'Euler',
  euler_a: 'Euler a',
  'dpm++2m': 'DPM++ 2M',
  lcm: 'LCM',
  tcd: 'TCD',
}

export function parametersOf({ request, model, made }: PictureRecipe): string {
  const { negativePrompt, sampler = 'ddim', width, height, seed } = request
  const contents = request.contents?.map(({ prompt }) => prompt) ?? [request.content]
  const pairs: Record<string, unknown> = {
    Steps: request.steps,
    Sampler: samplerNames[sampler],
    'Schedule type': request.spacing === 'karras' ? 'Karras' : undefined,
    'CFG scale': request.guidanceScale,
    Seed: seed,
    Size: `${width}x${height}`,
    Model: model.name.replace(/^.*\//, '').replace(/\.(safetensors|ckpt|gguf|pt|pth|bin)$/i, ''),
    VAE: model.vae ?? undefined,
    'Clip skip': model.options.clipSkip > 1 ? model.options.clipSkip : undefined,
    'MagicMix layout': layoutOf(request),
    ...mixedBy(request),
    'MagicMix LoRAs': request.loras?.map(({ file, strength }) => `${file} ${strength}`).join(', '),
    Version: `magicmix ${made.version}`,
  }
  const line = Object.entries(pairs)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name}: ${quoted(String(value))}`)
    .join(', ')
  return [
    contents.join('\n'),
    ...(negativePrompt ? [`Negative prompt: ${negativePrompt}`] : []),
    line,
  ]
    .join('\n')
    .replaceAll('\0', '')
}

function layoutOf({ layout, layouts }: Recipe): string | undefined {
  if (isPrompt(layout)) return layout.prompt
  const pictures = layouts?.map(({ picture }) => picture) ?? [layout]
  const names = pictures.map((picture) => (picture as { path?: string }).path)
  return names.filter((name) => name !== undefined).join(', ')
}

function mixedBy({ method, nu, kMin, kMax }: Recipe): Record<string, unknown> {
  if (method !== undefined && nameOf(method) !== 'magicmix') {
    return { 'MagicMix method': methodLabel(method) }
  }
  const weight = typeof nu === 'number' ? nu : JSON.stringify(nu)
  return { 'MagicMix nu': weight, 'MagicMix k': `${kMin} to ${kMax}` }
}

/** As JSON where the value would look like more than one. */
function quoted(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value
}
