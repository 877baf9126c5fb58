/** Painting a map of nu over the layout: what is painted stays as the layout has it. */
import { byId, closable } from './dom.js'

const longest = 512
const mostUndone = 20
/** The colour of what is painted; the map itself is made of how opaque it is. */
const colour = '#2b7a78'

interface Point {
  x: number
  y: number
}

export class Painter {
  private readonly dialog = byId<HTMLDialogElement>('painter')
  private readonly image = byId<HTMLImageElement>('painter-image')
  private readonly mask = byId<HTMLCanvasElement>('painter-mask')
  private readonly brush = byId('painter-brush')
  private readonly size = byId<HTMLInputElement>('brush-size')
  private readonly softness = byId<HTMLInputElement>('brush-softness')
  private readonly context: CanvasRenderingContext2D
  private readonly undo: ImageData[] = []
  private at: Point = { x: 0, y: 0 }
  private onDone: ((map: Blob | null) => void) | undefined

  constructor() {
    const context = this.mask.getContext('2d', { willReadFrequently: true })
    if (!context) throw new Error('this browser does not draw')
    this.context = context
    closable(this.dialog)
    this.dialog.addEventListener('close', () => URL.revokeObjectURL(this.image.src))
    byId('painter-done').addEventListener('click', () => void this.finish())
    byId('painter-undo').addEventListener('click', () => this.takeBack())
    byId('painter-clear').addEventListener('click', () => {
      this.remember()
      this.wipe()
    })
    byId('painter-invert').addEventListener('click', () => this.invert())
    for (const slider of [this.size, this.softness]) {
      slider.addEventListener('input', () => this.showBrush())
    }
    this.mask.addEventListener('pointerdown', (event) => this.stroke(event))
    this.mask.addEventListener('pointermove', (event) => {
      this.at = this.pointOf(event)
      this.showBrush()
    })
    this.mask.addEventListener('keydown', (event) => this.key(event))
  }

  /** @param map the one to go on with */
  async show(picture: Blob, map: Blob | null, onDone: (map: Blob | null) => void): Promise<void> {
    this.onDone = onDone
    const bitmap = await createImageBitmap(picture)
    const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height))
    this.mask.width = Math.max(8, Math.round(bitmap.width * scale))
    this.mask.height = Math.max(8, Math.round(bitmap.height * scale))
    bitmap.close()
    this.image.src = URL.createObjectURL(picture)
    this.undo.length = 0
    this.wipe()
    if (map) await this.read(map)
    this.at = { x: this.mask.width / 2, y: this.mask.height / 2 }
    this.dialog.showModal()
    this.mask.focus()
    this.showBrush()
  }

  private get radius(): number {
    const { width, height } = this.mask
    return (this.size.valueAsNumber / 100) * Math.max(width, height) * 0.5
  }

  private get erases(): boolean {
    return document.querySelector<HTMLInputElement>('[name=brush-kind]:checked')?.value === 'erase'
  }

  private stroke(down: PointerEvent): void {
    if (down.button !== 0) return
    down.preventDefault()
    this.mask.focus()
    this.mask.setPointerCapture(down.pointerId)
    const before = this.remember()
    const points = [this.pointOf(down)]
    this.paint(before, points)
    const end = new AbortController()
    const { signal } = end
    const move = (event: PointerEvent) => {
      points.push(...(event.getCoalescedEvents?.() ?? []).map((each) => this.pointOf(each)))
      points.push(this.pointOf(event))
      this.paint(before, points)
    }
    this.mask.addEventListener('pointermove', move, { signal })
    for (const name of ['pointerup', 'pointercancel'] as const) {
      this.mask.addEventListener(name, () => end.abort(), { signal })
    }
  }

  /** A whole stroke at once, so that it is nowhere painted twice. */
  private paint(before: ImageData, points: readonly Point[]): void {
    const { context, radius } = this
    const { width } = this.mask
    const soft = this.softness.valueAsNumber / 100
    context.putImageData(before, 0, 0)
    context.save()
    context.globalCompositeOperation = this.erases ? 'destination-out' : 'source-over'
    context.lineCap = context.lineJoin = 'round'
    context.strokeStyle = colour
    // Its shadow is soft in every browser; the stroke itself is drawn beside the canvas.
    context.lineWidth = Math.max(1, radius * 2 * (1 - soft * 0.6))
    context.shadowColor = colour
    context.shadowBlur = soft * radius
    const aside = width * 2
    context.shadowOffsetX = aside
    context.beginPath()
    for (const [i, { x, y }] of points.entries()) {
      if (i === 0) context.moveTo(x - aside, y)
      // A point alone is a line as well.
      context.lineTo(x - aside + 0.01, y)
    }
    context.stroke()
    context.restore()
  }

  private key(event: KeyboardEvent): void {
    const { width, height } = this.mask
    const step = Math.max(width, height) / (event.shiftKey ? 10 : 40)
    const ways: Record<string, [number, number]> = {
      ...{ ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step] },
      ArrowDown: [0, step],
    }
    const { [event.key]: way } = ways
    if (way) {
      this.at = {
        x: Math.min(width, Math.max(0, this.at.x + way[0])),
        y: Math.min(height, Math.max(0, this.at.y + way[1])),
      }
      this.showBrush()
    } else if (event.key === ' ') {
      this.paint(this.remember(), [this.at])
    } else if (event.key === 'z' && (event.ctrlKey || event.metaKey)) {
      this.takeBack()
    } else return
    event.preventDefault()
  }

  private pointOf({ clientX, clientY }: MouseEvent): Point {
    const { left, top, width, height } = this.mask.getBoundingClientRect()
    return {
      x: ((clientX - left) / width) * this.mask.width,
      y: ((clientY - top) / height) * this.mask.height,
    }
  }

  private showBrush(): void {
    const { width, height } = this.mask
    const { style } = this.brush
    style.left = `${(this.at.x / width) * 100}%`
    style.top = `${(this.at.y / height) * 100}%`
    style.width = `${((this.radius * 2) / width) * 100}%`
  }

  private remember(): ImageData {
    const { width, height } = this.mask
    const before = this.context.getImageData(0, 0, width, height)
    this.undo.push(before)
    if (this.undo.length > mostUndone) this.undo.shift()
    return before
  }

  private takeBack(): void {
    const before = this.undo.pop()
    if (before) this.context.putImageData(before, 0, 0)
  }

  private wipe(): void {
    this.context.clearRect(0, 0, this.mask.width, this.mask.height)
  }

  private invert(): void {
    const pixels = this.remember()
    this.fillFrom((i) => 255 - (pixels.data[i + 3] ?? 0))
  }

  /** @param opacity of the pixel whose values begin at `i` */
  private fillFrom(opacity: (i: number) => number): void {
    const { width, height } = this.mask
    const pixels = this.context.createImageData(width, height)
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([43, 122, 120, opacity(i)], i)
    this.context.putImageData(pixels, 0, 0)
  }

  /** White is all of nu, black the layout alone. */
  private async read(map: Blob): Promise<void> {
    const { width, height } = this.mask
    const bitmap = await createImageBitmap(map)
    this.context.drawImage(bitmap, 0, 0, width, height)
    bitmap.close()
    const { data } = this.context.getImageData(0, 0, width, height)
    this.fillFrom((i) => 255 - (data[i] ?? 0))
  }

  private async finish(): Promise<void> {
    const { width, height } = this.mask
    const pixels = this.context.getImageData(0, 0, width, height)
    const { data } = pixels
    let isPainted = false
    for (let i = 0; i < data.length; i += 4) {
      const level = 255 - (data[i + 3] ?? 0)
      isPainted ||= level < 255
      data.set([level, level, level, 255], i)
    }
    const canvas = document.createElement('canvas')
    canvas.width = width
    canvas.height = height
    canvas.getContext('2d')?.putImageData(pixels, 0, 0)
    const map = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'))
    this.dialog.close()
    this.onDone?.(isPainted ? map : null)
  }
}
