/** The float64 reference against PyTorch, and against hand-made values where PyTorch has no such function. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { matrices, readGolden } from './golden.ts'
import type { Mask, Matrix } from './reference.ts'
import * as reference from './reference.ts'

const golden = readGolden('attention.safetensors')
const all = (name: string): number[][][] => matrices(golden(name))
const HEADS = 3
const LEARNED = ['exp', 'softmax', 'softmax-joint', 't2r']
const MAPS = Object.keys(reference.featureMaps) as (keyof typeof reference.featureMaps)[]
const MASKS = ['causal', 'bidirectional'] as const

/** The inputs of one head of one batch entry, as the script that made the golden file used them. */
interface Head {
  readonly q: Matrix
  readonly k: Matrix
  readonly v: Matrix
  readonly wq: Matrix
  readonly wk: Matrix
  readonly bq: readonly number[]
  readonly bk: readonly number[]
  readonly keys: readonly boolean[]
  readonly index: number
}

const heads: readonly Head[] = all('q').map((q, index) => {
  const h = index % HEADS
  const keys = all('keyMask')[0]![Math.floor(index / HEADS)]!.map((seen) => seen === 1)
  const [k, v, wq, wk] = [all('k')[index]!, all('v')[index]!, all('wq')[h]!, all('wk')[h]!]
  return { q, k, v, wq, wk, bq: all('bq')[0]![h]!, bk: all('bk')[0]![h]!, keys, index }
})

const maskOf = (mask: (typeof MASKS)[number], head: Head): Mask =>
  mask === 'causal' ? { causal: true } : { keys: head.keys }

function features(map: (typeof MAPS)[number], head: Head): { phiQ: Matrix; phiK: Matrix } {
  const phi = reference.featureMaps[map]
  const [bq, bk] = map === 't2r' ? [head.bq, head.bk] : []
  const learned = LEARNED.includes(map)
  const uq = learned ? reference.project(head.q, head.wq, bq) : head.q
  const uk = learned ? reference.project(head.k, head.wk, bk) : head.k
  return { phiQ: uq.map(phi), phiK: uk.map(phi) }
}

function near(got: Matrix, want: Matrix, tolerance = 1e-12): void {
  want.forEach((row, r) => {
    row.forEach((value, c) => {
      const error = Math.abs(got[r]![c]! - value) / Math.max(1, Math.abs(value))
      assert.ok(error <= tolerance, `[${r}, ${c}]: got ${got[r]![c]}, want ${value}`)
    })
  })
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

for (const mask of MASKS) {
  describe(`With the ${mask} mask`, () => {
    test('softmax attention is what PyTorch gives', () => {
      for (const head of heads) {
        const weights = reference.softmaxWeights(head.q, head.k, maskOf(mask, head))
        near(weights, all(`softmax-attention.${mask}.weights`)[head.index]!)
        near(reference.attend(weights, head.v), all(`softmax-attention.${mask}.y`)[head.index]!)
      }
    })

    for (const map of MAPS) {
      test(`linear attention with the map ${map} is what PyTorch gives`, () => {
        for (const head of heads) {
          const { phiQ, phiK } = features(map, head)
          const weights = reference.linearWeights(phiQ, phiK, maskOf(mask, head))
          near(weights, all(`${map}.${mask}.weights`)[head.index]!)
          near(reference.attend(weights, head.v), all(`${map}.${mask}.y`)[head.index]!)
        }
      })
    }

    for (const map of MAPS.filter((name) => name !== 'relu')) {
      test(`distillation loss and divergence with the map ${map} are what PyTorch gives`, () => {
        const pairs = heads.map((head) => {
          const { phiQ, phiK } = features(map, head)
          const student = reference.linearWeights(phiQ, phiK, maskOf(mask, head))
          return { teacher: reference.softmaxWeights(head.q, head.k, maskOf(mask, head)), student }
        })
        const loss = mean(pairs.map(({ teacher, student }) => reference.softCrossEntropy(teacher, student)))
        const kl = mean(
          pairs.flatMap(({ teacher, student }) => teacher.map((row, n) => reference.divergence(row, student[n]!))),
        )
        near([[loss, kl]], [[golden(`${map}.${mask}.loss`).data[0]!, golden(`${map}.${mask}.kl`).data[0]!]])
      })
    }
  })
}

test('The recurrent form equals the parallel one for every map, with and without padding', () => {
  for (const head of heads) {
    for (const map of MAPS) {
      const { phiQ, phiK } = features(map, head)
      const parallel = reference.attend(reference.linearWeights(phiQ, phiK, { causal: true, keys: head.keys }), head.v)
      near(reference.linearRecurrent(phiQ, phiK, head.v, head.keys), parallel)
    }
  }
})

test('With W the identity, the exp kernel is 2 Σ cosh(q + k)', () => {
  const { q, k } = heads[0]!
  const { exp } = reference.featureMaps
  const cosh = q[0]!.reduce((sum, value, c) => sum + 2 * Math.cosh(value + k[0]![c]!), 0)
  near([[reference.dot(exp(q[0]!), exp(k[0]!))]], [[cosh]])
})

test('The golden gradients are the central differences of the reference', () => {
  const step = 1e-5
  const dy = all('dy')
  for (const map of LEARNED as typeof MAPS) {
    for (const mask of MASKS) {
      const value = (head: Head): number => {
        const { phiQ, phiK } = features(map, head)
        const y = reference.attend(reference.linearWeights(phiQ, phiK, maskOf(mask, head)), head.v)
        return y.reduce((sum, row, n) => sum + reference.dot(row, dy[head.index]![n]!), 0)
      }
      const head = heads.at(-1)!
      for (const name of ['q', 'k', 'v'] as const) {
        const slopes = head[name].map((row, r) =>
          row.map((_, c) => {
            const moved = (by: number) =>
              value({ ...head, [name]: head[name].map((x, i) => (i === r ? x.with(c, x[c]! + by) : x)) })
            return (moved(step) - moved(-step)) / (2 * step)
          }),
        )
        near(slopes, all(`${map}.${mask}.d${name}`)[head.index]!, 1e-7)
      }
    }
  }
})

test('A query that sees no key gets zeros', () => {
  const { q, k, v } = heads[0]!
  const nothing = q.map(() => q.map(() => 0))
  near(
    reference.linearWeights(q.map(reference.featureMaps.exp), k.map(reference.featureMaps.exp), {
      keys: k.map(() => false),
    }),
    nothing,
  )
  near(
    reference.attend(nothing, v),
    q.map(() => v[0]!.map(() => 0)),
  )
})

test('The last query sees the last key when there are more keys than queries', () => {
  const { q, k } = heads[0]!
  const whole = reference.softmaxWeights(q, k, { causal: true })
  near(reference.softmaxWeights(q.slice(-2), k, { causal: true }), whole.slice(-2))
})

test("Spearman's correlation shares ranks between ties", () => {
  assert.deepEqual(reference.ranks([5, 6, 7, 8, 7]), [1, 2, 3.5, 5, 3.5])
  // The example in the documentation of scipy.stats.spearmanr.
  near([[reference.spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7])]], [[0.8207826816681233]])
  assert.equal(reference.spearman([1, 2, 3], [9, 4, 1]), -1)
})

test('Inversions are counted over all pairs, ties being none', () => {
  assert.equal(reference.inversionShare([1, 2, 3, 4], [1, 2, 3, 4]), 0)
  assert.equal(reference.inversionShare([1, 2, 3, 4], [4, 3, 2, 1]), 1)
  assert.equal(reference.inversionShare([1, 2, 3, 4], [1, 3, 2, 2]), 2 / 6)
})

test('Entropy is log n for equal weights and 0 for one weight', () => {
  near([[reference.entropy([0.25, 0.25, 0.25, 0.25]), reference.entropy([0, 1, 0])]], [[Math.log(4), 0]])
})
