/** Correlations: how steadily one quantity rises with another. */

/** Ranks from 0, ties sharing their mean. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).sort((i, j) => values[i]! - values[j]!)
  const found = new Float64Array(values.length)
  for (let start = 0; start < order.length; ) {
    let end = start + 1
    while (end < order.length && values[order[end]!] === values[order[start]!]) end += 1
    for (let i = start; i < end; i++) found[order[i]!] = (start + end - 1) / 2
    start = end
  }
  return found
}

/** Pearson's correlation, in [−1, 1]; 0 where one of the two does not vary. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [deviations(a), deviations(b)]
  let [both, squareX, squareY] = [0, 0, 0]
  for (let i = 0; i < x.length; i++) {
    both += x[i]! * y[i]!
    squareX += x[i]! ** 2
    squareY += y[i]! ** 2
  }
  const r = squareX > 0 && squareY > 0 ? both / Math.sqrt(squareX * squareY) : 0
  return r > 1 ? 1 : r < -1 ? -1 : r
}

/** Spearman's rank correlation, in [−1, 1]; 0 where one of the two does not vary. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return pearson(ranks(a), ranks(b))
}

/** Differences from the mean, in units of the range, so that squares neither vanish nor overflow; all 0 without a range. */
function deviations(values: ArrayLike<number>): Float64Array {
  let [sum, least, most] = [0, Infinity, -Infinity]
  for (let i = 0; i < values.length; i++) {
    sum += values[i]!
    least = Math.min(least, values[i]!)
    most = Math.max(most, values[i]!)
  }
  const found = new Float64Array(values.length)
  if (least === most) return found
  for (let i = 0; i < found.length; i++) found[i] = (values[i]! - sum / found.length) / (most - least)
  return found
}
