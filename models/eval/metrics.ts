/**
 * How a mix of the world is judged: where its silhouette lies, what a classifier sees in it, and how
 * much it is like another picture.
 */
import path from 'node:path'

import type { Picture } from 'magicmix'

import { readSafetensors, tensorValues } from '../../test/support/safetensors.js'

// ---------------------------------------------------------------------------------------------
// Silhouettes

/** In levels of 0..255: what differs more than this from the background belongs to the object. */
const threshold = 40

/**
 * The object of a picture: whatever differs from the background, with its holes filled. The
 * background is an affine field of colour, fitted to the border.
 */
export function silhouette(picture: Picture): Uint8Array {
  const { width, height, data } = picture
  const background = fitBackground(picture)
  const object = new Uint8Array(width * height)
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const there = background(x, y)
      const distance = Math.hypot(...there.map((level, c) => data[3 * i + c]! - level))
      object[i] = distance > threshold ? 1 : 0
    }
  }
  return fillHoles(object, width, height)
}

/** Intersection over union of two silhouettes; 1 if both are empty. */
export function overlap(a: Uint8Array, b: Uint8Array): number {
  let [both, either] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    both += a[i]! & b[i]!
    either += a[i]! | b[i]!
  }
  return either === 0 ? 1 : both / either
}

type Field = (x: number, y: number) => number[]

function fitBackground({ width, height, data }: Picture): Field {
  const border: [number, number][] = []
  for (let x = 0; x < width; x++) border.push([x, 0], [x, 1], [x, height - 2], [x, height - 1])
  for (let y = 2; y < height - 2; y++) border.push([0, y], [1, y], [width - 2, y], [width - 1, y])
  const colourAt = (x: number, y: number, c: number) => data[3 * (y * width + x) + c]!
  const fit = (points: [number, number][]): Field => {
    const planes = [0, 1, 2].map((c) =>
      fitPlane(points.map(([x, y]) => [x, y, colourAt(x, y, c)] as const)),
    )
    return (x, y) => planes.map(([a, b, d]) => a + b * x + d * y)
  }
  // An object may touch the border: begin with the median, then fit to what is near.
  let field: Field = () => medians
  const medians = [0, 1, 2].map((c) => {
    const sorted = border.map(([x, y]) => colourAt(x, y, c)).sort((p, q) => p - q)
    return sorted[sorted.length >> 1]!
  })
  for (let round = 0; round < 2; round++) {
    const near = border.filter(([x, y]) => {
      const there = field(x, y)
      return Math.hypot(...there.map((level, c) => colourAt(x, y, c) - level)) < threshold
    })
    if (near.length > border.length / 4) field = fit(near)
  }
  return field
}

/** Least squares of `a + b x + d y` by the normal equations. */
function fitPlane(points: (readonly [number, number, number])[]): [number, number, number] {
  const m = [0, 0, 0, 0, 0, 0, 0, 0, 0]
  const v = [0, 0, 0]
  for (const [x, y, value] of points) {
    const row = [1, x, y]
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) m[3 * i + j]! += row[i]! * row[j]!
      v[i]! += row[i]! * value
    }
  }
  const determinant = (q: number[]) =>
    q[0]! * (q[4]! * q[8]! - q[5]! * q[7]!) -
    q[1]! * (q[3]! * q[8]! - q[5]! * q[6]!) +
    q[2]! * (q[3]! * q[7]! - q[4]! * q[6]!)
  const whole = determinant(m)
  const solved = [0, 1, 2].map((column) => {
    const replaced = m.map((value, at) => (at % 3 === column ? v[Math.floor(at / 3)]! : value))
    return determinant(replaced) / whole
  })
  return solved as [number, number, number]
}

/** Whatever of the background cannot be reached from the border belongs to the object. */
function fillHoles(object: Uint8Array, width: number, height: number): Uint8Array {
  const filled = new Uint8Array(object.length).fill(1)
  const stack: number[] = []
  const visit = (i: number) => {
    if (object[i] === 0 && filled[i] === 1) {
      filled[i] = 0
      stack.push(i)
    }
  }
  for (let x = 0; x < width; x++) [x, (height - 1) * width + x].forEach(visit)
  for (let y = 0; y < height; y++) [y * width, y * width + width - 1].forEach(visit)
  for (let i = stack.pop(); i !== undefined; i = stack.pop()) {
    if (i % width > 0) visit(i - 1)
    if (i % width < width - 1) visit(i + 1)
    if (i >= width) visit(i - width)
    if (i < (height - 1) * width) visit(i + width)
  }
  return filled
}

// ---------------------------------------------------------------------------------------------
// Likeness

/** The peak signal-to-noise ratio of two pictures in dB, over all channels; Infinity if equal. */
export function psnr(a: Picture, b: Picture): number {
  sameSize(a, b)
  let sum = 0
  for (let i = 0; i < a.data.length; i++) sum += (a.data[i]! - b.data[i]!) ** 2
  return 10 * Math.log10(255 ** 2 / (sum / a.data.length))
}

/**
 * The structural similarity of two pictures' luma as Wang, Bovik, Sheikh and Simoncelli published it
 * (2004): means, variances and covariance in a Gaussian window of 11 x 11 with deviation 1.5, K1 0.01,
 * K2 0.03, and the mean over all places where the window lies within the picture.
 */
export function ssim(a: Picture, b: Picture): number {
  sameSize(a, b)
  const { width, height } = a
  const [x, y] = [luma(a), luma(b)]
  const smooth = (f: (i: number) => number) =>
    blurred(
      Float64Array.from(x, (_, i) => f(i)),
      width,
      height,
    )
  const mx = smooth((i) => x[i]!)
  const my = smooth((i) => y[i]!)
  const xx = smooth((i) => x[i]! ** 2)
  const yy = smooth((i) => y[i]! ** 2)
  const xy = smooth((i) => x[i]! * y[i]!)
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2]
  const similarities = mx.map((p, i) => {
    const q = my[i]!
    const luminance = (2 * p * q + c1) / (p * p + q * q + c1)
    return (luminance * (2 * (xy[i]! - p * q) + c2)) / (xx[i]! - p * p + (yy[i]! - q * q) + c2)
  })
  return similarities.reduce((sum, value) => sum + value, 0) / similarities.length
}

function sameSize(a: Picture, b: Picture): void {
  if (a.width !== b.width || a.height !== b.height) throw new Error('pictures of different sizes')
}

/** Rec. 601, in 0..255. */
function luma({ data }: Picture): Float64Array {
  const at = (i: number) =>
    0.299 * data[3 * i]! + 0.587 * data[3 * i + 1]! + 0.114 * data[3 * i + 2]!
  return Float64Array.from({ length: data.length / 3 }, (_, i) => at(i))
}

const window = (() => {
  const bell = Array.from({ length: 11 }, (_, i) => Math.exp(-((i - 5) ** 2) / (2 * 1.5 ** 2)))
  const sum = bell.reduce((total, value) => total + value, 0)
  return bell.map((value) => value / sum)
})()

/** Through the window, where it lies within the picture: ten pixels less each way. */
function blurred(values: Float64Array, width: number, height: number): Float64Array {
  const [w, h] = [width - window.length + 1, height - window.length + 1]
  if (w < 1 || h < 1) throw new Error('pictures smaller than the window of SSIM')
  const rows = new Float64Array(w * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < w; x++) {
      let sum = 0
      for (let k = 0; k < window.length; k++) sum += window[k]! * values[y * width + x + k]!
      rows[y * w + x] = sum
    }
  }
  const both = new Float64Array(w * h)
  for (let i = 0; i < both.length; i++) {
    let sum = 0
    for (let k = 0; k < window.length; k++) sum += window[k]! * rows[i + k * w]!
    both[i] = sum
  }
  return both
}

// ---------------------------------------------------------------------------------------------
// Content

/** What there is to see, in the classifier's order; the last is a shape of one colour. */
export const concepts = [
  ...['watermelon', 'lemon', 'strawberry', 'ladybird', 'tiger', 'zebra', 'panda', 'heart', 'star'],
  ...['moon', 'sun', 'fish', 'mushroom', 'cookie', 'cheese', 'cactus', 'donut', 'leaf', 'house'],
  ...['mug', 'brick wall', 'plain'],
] as const
export type Concept = (typeof concepts)[number]

interface Layer {
  weight: ArrayLike<number>
  bias: ArrayLike<number>
}

/** The judge that `classifier.py` trains. */
export class Classifier {
  private constructor(
    private readonly convs: Layer[],
    private readonly named: Layer,
  ) {}

  static load(): Classifier {
    const file = readSafetensors(path.join(__dirname, 'classifier.safetensors'))
    const layer = (name: string) => ({
      weight: tensorValues(file, `${name}.weight`),
      bias: tensorValues(file, `${name}.bias`),
    })
    return new Classifier(
      [0, 1, 2, 3].map((i) => layer(`convs.${i}`)),
      layer('named'),
    )
  }

  /** How likely each of {@link concepts} is to be in a picture of 128 x 128. */
  probabilities(picture: Picture): number[] {
    let { values, size } = halved(picture)
    for (const conv of this.convs) ({ values, size } = convolve(values, size, conv))
    const channels = values.length / size ** 2
    const means = Array.from({ length: channels }, (_, c) => {
      const plane = values.subarray(c * size ** 2, (c + 1) * size ** 2)
      return plane.reduce((sum, value) => sum + value, 0) / size ** 2
    })
    const scores = concepts.map((_, label) =>
      means.reduce((sum, mean, c) => sum + mean * this.named.weight[label * channels + c]!, 0),
    )
    const powers = scores.map((score, label) => Math.exp(score + this.named.bias[label]!))
    const total = powers.reduce((sum, power) => sum + power, 0)
    return powers.map((power) => power / total)
  }

  /** How likely `concept` is to be in the picture. */
  score(picture: Picture, concept: Concept): number {
    return this.probabilities(picture)[concepts.indexOf(concept)]!
  }

  /** What the picture shows most likely. */
  name(picture: Picture): Concept {
    const probabilities = this.probabilities(picture)
    return concepts[probabilities.indexOf(Math.max(...probabilities))]!
  }
}

/** Means of 2 x 2 pixels in [-1, 1], channel by channel. */
function halved({ width, height, data }: Picture): { values: Float32Array; size: number } {
  if (width !== 128 || height !== 128) throw new Error('the judge sees pictures of 128 x 128')
  const size = 64
  const values = new Float32Array(3 * size * size)
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        let sum = 0
        for (const dy of [0, 1]) {
          for (const dx of [0, 1]) sum += data[3 * ((2 * y + dy) * width + 2 * x + dx) + c]!
        }
        values[(c * size + y) * size + x] = sum / 4 / 127.5 - 1
      }
    }
  }
  return { values, size }
}

/** 3 x 3, stride 2, padding 1, and ReLU. */
function convolve(input: Float32Array, size: number, { weight, bias }: Layer) {
  const from = input.length / size ** 2
  const half = size / 2
  const values = new Float32Array(bias.length * half * half)
  for (let to = 0; to < bias.length; to++) {
    for (let y = 0; y < half; y++) {
      for (let x = 0; x < half; x++) {
        let sum = bias[to]!
        for (let ky = 0; ky < 3; ky++) {
          const iy = 2 * y + ky - 1
          if (iy < 0 || iy >= size) continue
          for (let kx = 0; kx < 3; kx++) {
            const ix = 2 * x + kx - 1
            if (ix < 0 || ix >= size) continue
            for (let c = 0; c < from; c++) {
              const w = weight[((to * from + c) * 3 + ky) * 3 + kx]!
              sum += w * input[(c * size + iy) * size + ix]!
            }
          }
        }
        values[(to * half + y) * half + x] = Math.max(0, sum)
      }
    }
  }
  return { values, size: half }
}
