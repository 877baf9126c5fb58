/**
 * MagicMix written a second time, in TypeScript and float64, around single calls of the engine's
 * networks: what the engine's own sampler is compared with.
 */
import type { MagicMix } from 'magicmix'

import type { NativeTextStates } from '../../dist/native/contract.js'
import type { TokenScale } from '../../dist/input/attention.js'
import { idsOf, native, nativeOf } from './native.js'

export interface Pixels {
  data: Uint8Array
  width: number
  height: number
}

export interface ReferenceRequest {
  layout: Pixels | { prompt: string }
  content: string
  negativePrompt?: string
  scales?: TokenScale[]
  kMin: number
  kMax: number
  nu: number
  guidanceScale: number
  steps: number
  eta?: number
  seed: number
  width: number
  height: number
}

export interface ReferenceMix {
  /** states iMax..N */
  states: Float32Array[]
  /** text-text: states 0..max(iMax, iMin - 1) */
  layoutStates: Float32Array[]
}

export async function referenceMix(
  mixer: MagicMix,
  request: ReferenceRequest,
): Promise<ReferenceMix> {
  const { layout, nu, steps } = request
  const iMax = indexAt(request.kMax, steps)
  const iMin = indexAt(request.kMin, steps)
  const sampler = await Sampler.create(mixer, request)

  const layoutStates =
    'prompt' in layout
      ? await sampler.run(
          await sampler.prompt(layout.prompt),
          sampler.noise,
          0,
          Math.max(iMax, iMin - 1),
        )
      : []
  const z0 = 'prompt' in layout ? null : await scaledMean(mixer, layout)
  const layoutAt = (i: number) => (z0 ? sampler.noised(z0, i) : (layoutStates[i] as Float32Array))

  const content = await sampler.prompt(request.content, request.scales)
  const states = [layoutAt(iMax)]
  for (let i = iMax; i < steps; i++) {
    const next = await sampler.step(content, states.at(-1) as Float32Array, i)
    states.push(i + 1 < iMin ? weighted(nu, next, 1 - nu, layoutAt(i + 1)) : next)
  }
  return { states, layoutStates }
}

/** Plain img2img: the picture noised to kMax, then DDIM. */
export async function imageToImage(
  mixer: MagicMix,
  request: ReferenceRequest & { layout: Pixels },
): Promise<Float32Array[]> {
  const start = indexAt(request.kMax, request.steps)
  const sampler = await Sampler.create(mixer, request)
  const noised = sampler.noised(await scaledMean(mixer, request.layout), start)
  return sampler.run(await sampler.prompt(request.content), noised, start, request.steps)
}

/** z0: the mean of the autoencoder's posterior times its scaling factor. */
async function scaledMean(mixer: MagicMix, picture: Pixels): Promise<Float32Array> {
  const { mean } = await nativeOf(mixer).encodePicture({ ...picture, stages: false }).done
  return mean.map((value) => value * mixer.model.sizes.vae.scalingFactor)
}

/** N - floor(k N), where k N may be a hair below a whole number. */
export function indexAt(k: number, steps: number): number {
  return steps - Math.floor(k * steps + 1e-9)
}

interface Prompt {
  text: NativeTextStates
  scales: TokenScale[]
}

class Sampler {
  readonly #schedule: ReturnType<typeof native.schedule>
  /** e, and then what the steps of eta > 0 draw */
  readonly #random: Float32Array
  readonly #latentSize: number
  /** The first step that is taken: its noise is the second draw. */
  readonly #firstStep: number

  private constructor(
    private readonly mixer: MagicMix,
    private readonly request: ReferenceRequest,
    private readonly negative: Prompt,
  ) {
    const { width, height, steps, seed } = request
    this.#schedule = native.schedule(steps)
    this.#latentSize = (4 * width * height) / 64
    // A multiple of 16 values at a time is the same stream as all at once.
    const draws = request.eta ? 1 + steps : 1
    this.#firstStep = 'prompt' in request.layout ? 0 : indexAt(request.kMax, steps)
    this.#random = native.randn(seed, draws * this.#latentSize)
  }

  static async create(mixer: MagicMix, request: ReferenceRequest): Promise<Sampler> {
    const negative = await encode(mixer, request.negativePrompt ?? '')
    return new Sampler(mixer, request, { text: negative, scales: [] })
  }

  async prompt(text: string, scales: TokenScale[] = []): Promise<Prompt> {
    return { text: await encode(this.mixer, text), scales }
  }

  get noise(): Float32Array {
    return this.#random.subarray(0, this.#latentSize)
  }

  /** The latent of z0 at t_i: its noise is replaced as the steps replace the content's. */
  noised(z0: Float32Array, i: number): Float32Array {
    const a = this.#schedule.alphaBar[i] as number
    let noise = this.noise
    for (let k = this.#firstStep; this.request.eta && k < i; k++) {
      const { b, sigma } = this.levels(k)
      const all = Math.sqrt(1 - b)
      noise = weighted(Math.sqrt(1 - b - sigma ** 2) / all, noise, sigma / all, this.fresh(k))
    }
    return weighted(Math.sqrt(a), z0, Math.sqrt(1 - a), noise)
  }

  private levels(i: number): { a: number; b: number; sigma: number } {
    const a = this.#schedule.alphaBar[i] as number
    const b = this.#schedule.alphaBarNext[i] as number
    const eta = this.request.eta ?? 0
    return { a, b, sigma: eta * Math.sqrt((1 - b) / (1 - a)) * Math.sqrt(1 - a / b) }
  }

  /** What step i adds, in the layout's run and in the content's. */
  private fresh(i: number): Float32Array {
    const begin = this.#latentSize * (1 + i - this.#firstStep)
    return this.#random.subarray(begin, begin + this.#latentSize)
  }

  /** States `from`..`to` of plain DDIM, the first given. */
  async run(prompt: Prompt, x: Float32Array, from: number, to: number): Promise<Float32Array[]> {
    const states = [x]
    for (let i = from; i < to; i++) {
      states.push(await this.step(prompt, states.at(-1) as Float32Array, i))
    }
    return states
  }

  /** DDIM's equation 12, from t_i to t_i+1. */
  async step(prompt: Prompt, x: Float32Array, i: number): Promise<Float32Array> {
    const { a, b, sigma } = this.levels(i)
    const eps = await this.guidedNoise(prompt, x, i)
    const clean = weighted(1 / Math.sqrt(a), x, -Math.sqrt(1 - a) / Math.sqrt(a), eps)
    const next = weighted(Math.sqrt(b), clean, Math.sqrt(1 - b - sigma ** 2), eps)
    return this.request.eta ? weighted(1, next, sigma, this.fresh(i)) : next
  }

  private async guidedNoise(prompt: Prompt, x: Float32Array, i: number): Promise<Float32Array> {
    const g = this.request.guidanceScale
    const conditional = await this.predict(prompt, x, i)
    if (g === 1) return conditional
    return weighted(1 - g, await this.predict(this.negative, x, i), g, conditional)
  }

  private async predict(prompt: Prompt, x: Float32Array, i: number): Promise<Float32Array> {
    const { width, height, steps } = this.request
    const scales = prompt.scales.filter(
      ({ from, to }) => indexAt(to, steps) <= i && i < indexAt(from, steps),
    )
    const { epsilon } = await nativeOf(this.mixer).predictNoise({
      latent: x,
      latentWidth: width / 8,
      latentHeight: height / 8,
      timestep: this.#schedule.timesteps[i] as number,
      ...prompt.text,
      attention: scales.map((scale) => ({ ...scale, from: 0, to: 1 })),
      stages: false,
    }).done
    return epsilon
  }
}

async function encode(mixer: MagicMix, text: string): Promise<NativeTextStates> {
  return nativeOf(mixer).encodeText(idsOf(mixer, text)).done
}

/** s x + t y */
function weighted(s: number, x: Float32Array, t: number, y: Float32Array): Float32Array {
  return x.map((value, k) => s * value + t * (y[k] as number))
}
