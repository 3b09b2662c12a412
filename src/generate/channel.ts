/** A queue between one who produces values and one who iterates over them. */

/** The producer's side of a queue, and the generator that its values come out of. */
export interface Channel<T, R> {
  push(value: T): void
  /** No more values; the generator returns this. What comes after an end is ignored. */
  end(result: R): void
  /** No more values; the generator throws this after those pushed before. */
  fail(error: unknown): void
  /** The values in their order; to be called once. */
  values(): AsyncGenerator<T, R, void>
}

/** @param left called when the one who iterates is done, also when they leave before the end. */
export function createChannel<T, R>(left: () => void = () => {}): Channel<T, R> {
  const queue: T[] = []
  let finish: (() => R) | undefined
  let wake = () => {}
  const finishWith = (how: () => R) => {
    finish ??= how
    wake()
  }
  return {
    push(value) {
      if (finish) return
      queue.push(value)
      wake()
    },
    end: (result) => finishWith(() => result),
    fail: (error) =>
      finishWith(() => {
        throw error
      }),
    async *values() {
      try {
        for (;;) {
          while (queue.length > 0) yield queue.shift()!
          if (finish) return finish()
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      } finally {
        finish ??= () => {
          throw new Error('channel: the iteration has ended')
        }
        left()
      }
    },
  }
}
