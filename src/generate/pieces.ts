/** Texts cut into the pieces that graphs read, and the residual streams of pieces put together again. */

import { type FloatArray, floats, ints, type NDArray } from '../base/array.ts'

/** The most positions read by one graph. */
export const largestPiece = 256

/** How many of `length` tokens the next graph reads: the largest piece, then powers of two, so that graphs are few. */
export function pieceOf(length: number, largest = largestPiece): number {
  return Math.min(largest, 2 ** Math.floor(Math.log2(length)))
}

/** Cuts ids (b l) into pieces. */
export function piecesOf(ids: NDArray): NDArray[] {
  const [batch, length] = ids.shape as [number, number]
  const cut: NDArray[] = []
  for (let start = 0; start < length; ) {
    const size = pieceOf(length - start)
    const rows = Array.from({ length: batch }, (_, row) => [
      ...ids.data.subarray(row * length + start, row * length + start + size),
    ])
    cut.push(ints([batch, size], rows.flat()))
    start += size
  }
  return cut
}

/** (b l e) -> (b 1 e). */
export function lastPosition(x: FloatArray): FloatArray {
  const [batch, l, width] = x.shape as [number, number, number]
  const last = floats([batch, 1, width])
  for (let row = 0; row < batch; row++) {
    const end = (row + 1) * l * width
    last.data.set(x.data.subarray(end - width, end), row * width)
  }
  return last
}

/** Pieces (b · e) after each other: (b l e). */
export function alongPositions(parts: readonly FloatArray[]): FloatArray {
  const [batch, , width] = parts[0]!.shape as [number, number, number]
  const length = parts.reduce((total, { shape }) => total + shape[1]!, 0)
  const whole = floats([batch, length, width])
  let start = 0
  for (const { shape, data } of parts) {
    const size = shape[1]! * width
    for (let row = 0; row < batch; row++) {
      whole.data.set(data.subarray(row * size, (row + 1) * size), row * length * width + start)
    }
    start += size
  }
  return whole
}
