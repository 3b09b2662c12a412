/** Elements in few words: the page has no framework, its views are plain elements that they change themselves. */

/** What an element may contain; what is false or undefined is left out. */
export type Child = Node | string | number | false | undefined | readonly Child[]

/** Attributes by name; `on…` are listeners, true and false set and leave out, `class` is a class. */
export type Attributes = Readonly<Record<string, unknown>>

/** An element, e.g. `h('button', { type: 'button', onclick: stop }, 'Stop')`. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) set(element, name, value)
  element.append(...flat(children))
  return element
}

/** Puts children in place of what an element contains. */
export function fill(element: Element, ...children: readonly Child[]): void {
  element.replaceChildren(...flat(children))
}

/** Puts markup in an element: only for text of the report's own functions, which escape all that is not theirs. */
export function draw(element: Element, markup: string): void {
  element.innerHTML = markup
}

/** An element with a chart or another piece of the report in it. */
export function drawn(markup: string, attributes: Attributes = {}): HTMLDivElement {
  const element = h('div', attributes)
  draw(element, markup)
  return element
}

/** Calls `paint` once in the next frame, however often it is asked for. */
export function oncePerFrame(paint: () => void): () => void {
  let asked = false
  return () => {
    if (asked) return
    asked = true
    requestAnimationFrame(() => {
      asked = false
      paint()
    })
  }
}

function set(element: HTMLElement, name: string, value: unknown): void {
  if (value === undefined || value === false) return
  if (name.startsWith('on')) element.addEventListener(name.slice(2), value as EventListener)
  else if (name === 'value') (element as HTMLInputElement).value = String(value)
  else element.setAttribute(name, value === true ? '' : String(value))
}

function flat(children: readonly Child[]): (Node | string)[] {
  return children.flatMap((child): (Node | string)[] => {
    if (child === undefined || child === false) return []
    if (Array.isArray(child)) return flat(child)
    return [typeof child === 'number' ? String(child) : (child as Node | string)]
  })
}
