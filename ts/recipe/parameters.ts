/**
 * A recipe in the lines that the AUTOMATIC1111 web UI writes, under the name `parameters`, and many programs
 * show: the prompt, the negative prompt, and pairs of names and values.
 */
import type { SamplerName } from '../request/mix-options.js'
import { methodLabel, nameOf } from '../request/method.js'
import { isPrompt } from '../input/layout.js'
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
  const { content, negativePrompt, layout, sampler = 'ddim', width, height, seed } = request
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
    'MagicMix layout': isPrompt(layout as never)
      ? (layout as { prompt: string }).prompt
      : (layout as { path?: string }).path,
    ...mixedBy(request),
    'MagicMix LoRAs': request.loras?.map(({ file, strength }) => `${file} ${strength}`).join(', '),
    Version: `magicmix ${made.version}`,
  }
  const line = Object.entries(pairs)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name}: ${quoted(String(value))}`)
    .join(', ')
  return [content, ...(negativePrompt ? [`Negative prompt: ${negativePrompt}`] : []), line]
    .join('\n')
    .replaceAll('\0', '')
}

function mixedBy({ method, nu, kMin, kMax }: PictureRecipe['request']): Record<string, unknown> {
  if (method !== undefined && nameOf(method) !== 'magicmix') {
    return { 'MagicMix method': methodLabel(method) }
  }
  return { 'MagicMix nu': nu, 'MagicMix k': `${kMin} to ${kMax}` }
}

/** As JSON where the value would look like more than one. */
function quoted(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value
}
