/** Random features of Performer: orthogonal directions with the lengths of normal vectors. */

import { random } from '../../base/random.ts'

/**
 * ω (m d), row by row: normal in every direction, orthogonal within each block of d rows (FAVOR+, arXiv 2009.14794).
 * They are a part of the map, so they depend on m and d alone and every model has the same.
 */
export function orthogonalFeatures(m: number, d: number): Float64Array {
  const rng = random(0).split(`performer ${m} ${d}`)
  const omega = new Float64Array(m * d)
  const normals = () => Float64Array.from({ length: d }, () => rng.normal())
  for (let row = 0; row < m; row++) {
    const block = row - (row % d)
    const direction = normals()
    for (let other = block; other < row; other++) removePart(direction, omega.subarray(other * d, (other + 1) * d))
    // The length of another normal vector: chi-distributed with d degrees of freedom.
    const scale = norm(normals()) / norm(direction)
    omega.set(
      direction.map((x) => x * scale),
      row * d,
    )
  }
  return omega
}

/** Takes from `x` what lies along `direction`. */
function removePart(x: Float64Array, direction: Float64Array): void {
  const share = dot(x, direction) / dot(direction, direction)
  for (let i = 0; i < x.length; i++) x[i]! -= share * direction[i]!
}

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((total, x, i) => total + x * b[i]!, 0)
const norm = (x: Float64Array): number => Math.sqrt(dot(x, x))
