import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ints, type NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { gradients } from '../../src/graph/gradient.ts'
import { add, div, exp, gatherElements, log, matmul, mul, sub, sum, transpose } from '../../src/graph/ops.ts'
import type { Tensor } from '../../src/graph/tensor.ts'
import { classLoss, squaredError, tokenLoss, tokenLossGradients } from '../../src/nn/loss.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { dot, doubles, near, normals, run, singles } from '../tensors.ts'

const [t, e, v] = [5, 3, 7]

function inputs(seed: number, scale = 1): Record<'h' | 'unembedding' | 'labels' | 'weights' | 'accumulated', NDArray> {
  const rng = random(seed)
  return {
    h: normals(rng.split('h'), [t, e], scale),
    unembedding: normals(rng.split('unembedding'), [v, e], scale),
    labels: ints([t, 1], [0, 6, 3, 3, 1]),
    weights: doubles([t, 1], [0.5, 0, 1, 0.25, 0.1]),
    accumulated: normals(rng.split('accumulated'), [v, e]),
  }
}

/** −log(exp(logit of the label) / Σ exp(logit)), as the equation stands. */
function plain(h: Tensor, unembedding: Tensor, labels: Tensor): Tensor {
  const powers = exp(matmul(h, transpose(unembedding)))
  return mul(log(gatherElements(div(powers, sum(powers, [-1])), labels, 1)), -1)
}

async function byHand(given: Arrays): Promise<Arrays> {
  return run(({ h, unembedding, labels, weights, accumulated }) => {
    const all = { h: h!, unembedding: unembedding!, labels: labels!, weights: weights!, accumulated: accumulated! }
    return { ...tokenLossGradients(all) }
  }, given)
}

describe('tokenLoss', () => {
  it('is −log p of each label', async () => {
    const { nll, want } = await run(({ h, unembedding, labels }) => {
      const given = { h: h!, unembedding: unembedding!, labels: labels! }
      return { nll: tokenLoss(given), want: plain(given.h, given.unembedding, given.labels) }
    }, inputs(1))
    near(nll, want!, 1e-12)
  })

  it('is right for logits that overflow in the plain form, and never below zero', async () => {
    const { h, unembedding, labels } = inputs(2, 20)
    const losses = (given: Arrays) =>
      run((all) => ({ nll: tokenLoss({ h: all.h!, unembedding: all.unembedding!, labels: all.labels! }) }), given)
    const given = { h, unembedding, labels }
    const [double, single] = [(await losses(given)).nll!, (await losses(singles(given))).nll!]
    const want = Float64Array.from({ length: t }, (_, row) => {
      const logits = Array.from({ length: v }, (_unused, word) => logit(h, unembedding, row, word))
      const largest = Math.max(...logits)
      const total = logits.reduce((sum, x) => sum + Math.exp(x - largest), 0)
      return largest + Math.log(total) - logits[labels.data[row]!]!
    })
    near(double, { data: want }, 1e-12)
    near(single, { data: want }, 1e-5)
    for (const loss of single.data) assert.ok(loss >= -1e-4)
  })

  it('says so when rows of labels and of states differ', async () => {
    const given = { ...inputs(3), labels: ints([t - 1, 1]) }
    await assert.rejects(byHand(given), { name: 'RangeError', message: /tokenLoss: labels.*t = 4, want 5/ })
  })
})

describe('tokenLossGradients', () => {
  it('are those of the plain expression by automatic differentiation', async () => {
    const given = inputs(4)
    const found = await byHand(given)
    const want = await run(({ h, unembedding, labels, weights, accumulated }) => {
      const loss = sum(mul(plain(h!, unembedding!, labels!), weights!), [0, 1], false)
      const [dh, dUnembedding] = gradients(loss, [h!, unembedding!])
      return { loss, dh: dh!, dUnembedding: sub(dUnembedding!, mul(accumulated!, -1)) }
    }, given)
    for (const name of Object.keys(want)) near(found[name], want[name]!, 1e-12, name)
    const single = await byHand(singles(given))
    for (const name of Object.keys(want)) near(single[name], want[name]!, 1e-5, `float32 ${name}`)
  })

  it('are central differences of the loss', async () => {
    const given = { ...inputs(5), accumulated: doubles([v, e], new Float64Array(v * e)) }
    const found = await byHand(given)
    for (const [name, gradient] of [
      ['h', found.dh!],
      ['unembedding', found.dUnembedding!],
    ] as const) {
      const direction = normals(random(6), given[name].shape)
      const at = async (by: number) => {
        const data = Float64Array.from(given[name].data, (x, i) => x + by * direction.data[i]!)
        return (await byHand({ ...given, [name]: doubles(given[name].shape, data) })).loss!.data[0]!
      }
      const slope = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5
      assert.ok(
        Math.abs(slope - dot(gradient, direction)) < 1e-8,
        `${name}: ${dot(gradient, direction)}, want ${slope}`,
      )
    }
  })

  it('take nothing from a row of weight 0, whatever its label and state', async () => {
    const given = inputs(7)
    const h = doubles(
      [t, e],
      Float64Array.from(given.h.data, (x, i) => (Math.floor(i / e) === 1 ? -9 * x : x)),
    )
    const [before, after] = [await byHand(given), await byHand({ ...given, h, labels: ints([t, 1], [0, 2, 3, 3, 1]) })]
    for (const name of Object.keys(before)) near(after[name], before[name]!, 1e-14, name)
    for (let c = 0; c < e; c++) assert.equal(Math.abs(after.dh!.data[e + c]!), 0)
  })

  it('are added to what came before, so that parts of the rows give what all rows give', async () => {
    const given = inputs(8)
    const whole = await byHand(given)
    const rows = (start: number, end: number) => ({
      h: doubles([end - start, e], given.h.data.slice(start * e, end * e) as Float64Array),
      labels: ints([end - start, 1], given.labels.data.slice(start, end) as Int32Array),
      weights: doubles([end - start, 1], given.weights.data.slice(start, end) as Float64Array),
    })
    const first = await byHand({ ...given, ...rows(0, 2) })
    const second = await byHand({ ...given, ...rows(2, t), accumulated: first.dUnembedding! })
    near(second.dUnembedding, whole.dUnembedding!, 1e-13)
    assert.ok(Math.abs(first.loss!.data[0]! + second.loss!.data[0]! - whole.loss!.data[0]!) < 1e-13)
  })
})

describe('a bias of the output layer', () => {
  it('adds to the logits, and has the gradient of the plain expression, added to what came before', async () => {
    const bias = normals(random(9), [v])
    const accumulatedBias = normals(random(10), [v])
    const found = await run(
      ({ h, unembedding, labels, weights, accumulated, ...rest }) => {
        const all = { h: h!, unembedding: unembedding!, labels: labels!, weights: weights!, accumulated: accumulated! }
        return { ...tokenLossGradients({ ...all, bias: rest.bias!, accumulatedBias: rest.accumulatedBias! }) }
      },
      { ...inputs(9), bias, accumulatedBias },
    )
    const want = await run(
      (given) => {
        const logits = add(matmul(given.h!, transpose(given.unembedding!)), given.bias!)
        const loss = sum(mul(classLoss(logits, given.labels!), given.weights!), undefined, false)
        const [dh, dBias] = gradients(loss, [given.h!, given.bias!])
        return { loss, dh: dh!, dBias: add(dBias!, given.accumulatedBias!) }
      },
      { ...inputs(9), bias, accumulatedBias },
    )
    for (const name of Object.keys(want)) near(found[name], want[name]!, 1e-12, name)
  })
})

describe('losses of sequences', () => {
  it('are −log p of the class, right for logits that overflow, and the square of the error', async () => {
    const logits = doubles([2, 3], [1, -2, 0.5, 900, 1000, -50])
    const { loss, error } = await run(
      (given) => ({
        loss: classLoss(given.logits!, given.labels!),
        error: squaredError(given.predictions!, given.targets!),
      }),
      {
        logits,
        labels: ints([2, 1], [2, 0]),
        predictions: doubles([2, 1], [0.5, 3]),
        targets: doubles([2, 1], [-1, 3.25]),
      },
    )
    const first = Math.log(Math.exp(1) + Math.exp(-2) + Math.exp(0.5)) - 0.5
    near(loss, { data: [first, 100] }, 1e-14)
    near(error, { data: [2.25, 0.0625] }, 1e-15)
  })
})

function logit(h: NDArray, unembedding: NDArray, row: number, word: number): number {
  let total = 0
  for (let c = 0; c < e; c++) total += h.data[row * e + c]! * unembedding.data[word * e + c]!
  return total
}
