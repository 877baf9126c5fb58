/** Elements of the page, found and made. */

/** The element of an id, which index.html has. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const element = document.getElementById(id)
  if (!element) throw new Error(`index.html has no #${id}`)
  return element as unknown as T
}

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** `true` is an attribute without a value, `false` and undefined are none. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  setAll(element, attributes)
  element.append(...children)
  return element
}

export function makeSvg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  setAll(element, attributes)
  element.append(...children)
  return element
}

function setAll(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue
    element.setAttribute(name, value === true ? '' : String(value))
  }
}

/** Buttons with `data-close`, Escape and a click beside it close a dialog. */
export function closable(dialog: HTMLDialogElement): void {
  for (const button of dialog.querySelectorAll('[data-close]')) {
    button.addEventListener('click', () => dialog.close())
  }
  dialog.addEventListener('pointerdown', (event) => {
    if (event.target === dialog) dialog.close()
  })
}

/** Calls it once nothing has asked for it for a while. */
export function later(ms: number, call: () => void): () => void {
  let timer = 0
  return () => {
    window.clearTimeout(timer)
    timer = window.setTimeout(call, ms)
  }
}
