/** The queue from which BPE training takes the pair that is seen most. */

/** A binary heap: the highest count first, among equals the smaller key. */
export class PairHeap {
  readonly #items: { readonly count: number; readonly key: number }[] = []

  push(count: number, key: number): void {
    const items = this.#items
    let i = items.length
    items.push({ count, key })
    for (let up = (i - 1) >> 1; i > 0 && before(items[i]!, items[up]!); up = (i - 1) >> 1) {
      ;[items[i], items[up]] = [items[up]!, items[i]!]
      i = up
    }
  }

  pop(): { readonly count: number; readonly key: number } | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (items.length === 0 || last === undefined) return top
    items[0] = last
    for (let i = 0; ; ) {
      let first = i
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < items.length && before(items[child]!, items[first]!)) first = child
      }
      if (first === i) return top
      ;[items[i], items[first]] = [items[first]!, items[i]!]
      i = first
    }
  }
}

function before(a: { count: number; key: number }, b: { count: number; key: number }): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key)
}
