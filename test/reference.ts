/**
 * Each attention in plain float64 loops, one head at a time, written from the equations and never made faster.
 *
 * A head's queries are l rows of d numbers, keys s rows of d, values s rows of dv. Nothing here imports from src.
 */

export type Vector = readonly number[]
export type Matrix = readonly Vector[]

/** Which keys a query sees: all by default. */
export interface Mask {
  /** Query n of l sees keys i ≤ n + (s − l): the last query sees the last key. */
  readonly causal?: boolean
  /** False for a key that is padding, which nobody sees. */
  readonly keys?: readonly boolean[]
}

/** The least value that a sum of weights is divided by, so that a query that sees nothing gets zeros. */
const FLOOR = 1e-30

export const dot = (x: Vector, y: Vector): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0)

const sum = (x: Vector): number => x.reduce((total, value) => total + value, 0)

const table = (rows: number, columns: number, value: (row: number, column: number) => number): number[][] =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => value(row, column)))

/** Whether query n of l sees key i of s. */
function sees(mask: Mask, n: number, l: number, i: number, s: number): boolean {
  return (mask.keys?.[i] ?? true) && (!mask.causal || i <= n + s - l)
}

// Attention

/** q·k/√d for each query and key: [l, s]. */
export function scores(q: Matrix, k: Matrix): number[][] {
  return table(q.length, k.length, (n, i) => dot(q[n]!, k[i]!) / Math.sqrt(q[n]!.length))
}

/** The teacher's weights, softmax of the scores over the keys seen: [l, s], 0 for keys not seen. */
export function softmaxWeights(q: Matrix, k: Matrix, mask: Mask = {}): number[][] {
  return scores(q, k).map((row, n) => {
    const seen = row.map((_, i) => sees(mask, n, q.length, i, k.length))
    const largest = Math.max(...row.filter((_, i) => seen[i]))
    return normalise(row.map((score, i) => (seen[i] ? Math.exp(score - largest) : 0)))
  })
}

/** The student's weights, φ(q)·φ(k) over its sum: [l, s], from features [l, f] and [s, f]. */
export function linearWeights(phiQ: Matrix, phiK: Matrix, mask: Mask = {}): number[][] {
  const [l, s] = [phiQ.length, phiK.length]
  return phiQ.map((query, n) => normalise(phiK.map((key, i) => (sees(mask, n, l, i, s) ? dot(query, key) : 0))))
}

function normalise(row: Vector): number[] {
  const total = Math.max(sum(row), FLOOR)
  return row.map((value) => value / total)
}

/** Σ weight · value: [l, dv], from weights [l, s] and values [s, dv]. */
export function attend(weights: Matrix, v: Matrix): number[][] {
  return table(weights.length, v[0]!.length, (n, c) => sum(v.map((value, i) => weights[n]![i]! * value[c]!)))
}

/** Causal linear attention with the running sums S = Σ φ(k) vᵀ and z = Σ φ(k): [l, dv]; l = s. */
export function linearRecurrent(phiQ: Matrix, phiK: Matrix, v: Matrix, keys?: readonly boolean[]): number[][] {
  const state = table(phiK[0]!.length, v[0]!.length, () => 0)
  const total = phiK[0]!.map(() => 0)
  return phiQ.map((query, n) => {
    if (keys?.[n] ?? true) {
      phiK[n]!.forEach((feature, f) => {
        total[f]! += feature
        v[n]!.forEach((value, c) => {
          state[f]![c]! += feature * value
        })
      })
    }
    const denominator = Math.max(dot(query, total), FLOOR)
    return v[n]!.map((_, c) => sum(query.map((feature, f) => feature * state[f]![c]!)) / denominator)
  })
}

// Feature maps

/** One projected vector u to its features. */
export type FeatureMap = (u: Vector) => number[]

const negate = (u: Vector): number[] => u.map((x) => -x)

function softmax(u: Vector): number[] {
  const largest = Math.max(...u)
  return normalise(u.map((x) => Math.exp(x - largest)))
}

/** The maps of u = Wᵀx + b; `elu` and `relu` are used without W, with u = x. */
export const featureMaps = {
  exp: (u) => [...u, ...negate(u)].map(Math.exp),
  softmax: (u) => [...softmax(u), ...softmax(negate(u))].map((x) => Math.max(x, 1e-12)),
  'softmax-joint': (u) => softmax([...u, ...negate(u)].map((x) => 2 * x)),
  elu: (u) => u.map((x) => (x > 0 ? 1 + x : Math.exp(x))),
  relu: (u) => u.map((x) => Math.max(x, 0)),
  t2r: (u) => u.map((x) => Math.max(x, 0)),
} as const satisfies Readonly<Record<string, FeatureMap>>

/** x W + b for each row x: [n, f], from x [n, d], W [d, f] and b [f]. */
export function project(x: Matrix, w: Matrix, b?: Vector): number[][] {
  return table(x.length, w[0]!.length, (n, f) => sum(x[n]!.map((value, c) => value * w[c]![f]!)) + (b?.[f] ?? 0))
}

// Fidelity: how near one row of weights is to another

const mean = (x: Vector): number => sum(x) / x.length

/** −Σ p log p in nats, with 0 log 0 = 0. */
export const entropy = (p: Vector): number => crossEntropy(p, p)

/** −Σ p log p̂ in nats over the keys with p > 0. */
export function crossEntropy(p: Vector, estimate: Vector): number {
  return sum(p.map((value, i) => (value > 0 ? -value * Math.log(estimate[i]!) : 0)))
}

/** Σ p log(p / p̂) in nats. */
export const divergence = (p: Vector, estimate: Vector): number => crossEntropy(p, estimate) - entropy(p)

/** The distillation loss of one head: the mean over queries of the cross-entropy of teacher and student. */
export function softCrossEntropy(teacher: Matrix, student: Matrix): number {
  return mean(teacher.map((row, n) => crossEntropy(row, student[n]!)))
}

/** Ranks from 1; equal values share the mean of their ranks. */
export function ranks(x: Vector): number[] {
  return x.map((value) => {
    const below = x.filter((other) => other < value).length
    const equal = x.filter((other) => other === value).length
    return below + (equal + 1) / 2
  })
}

/** Spearman's correlation: Pearson's, of the ranks; NaN when one side is constant. */
export function spearman(x: Vector, y: Vector): number {
  const centred = (values: Vector) => values.map((value) => value - mean(values))
  const [a, b] = [centred(ranks(x)), centred(ranks(y))]
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

/** The share of all n(n−1)/2 pairs that x and y order strictly oppositely; a tie in either is no inversion. */
export function inversionShare(x: Vector, y: Vector): number {
  let inversions = 0
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < i; j++) if ((x[i]! - x[j]!) * (y[i]! - y[j]!) < 0) inversions++
  }
  return inversions / ((x.length * (x.length - 1)) / 2)
}
