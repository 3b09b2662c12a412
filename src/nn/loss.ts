/** Losses: of tokens together with the output layer, its gradients written by hand, and of whole sequences. */

import {
  add,
  exp,
  gatherElements,
  log,
  matmul,
  max,
  mul,
  reshape,
  scatterAdd,
  softmax,
  stopGradient,
  sub,
  sum,
  transpose,
} from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'

/** Inputs of {@link tokenLoss}. */
export interface TokenLossInputs {
  /** Final hidden states (t e). */
  readonly h: Tensor
  /** Output embedding (v e). */
  readonly unembedding: Tensor
  /** Its bias (v), where it has one. */
  readonly bias?: Tensor
  /** The right next token of each row (t 1), int32 in 0 … v−1. */
  readonly labels: Tensor
}

/** −log p(label) per row: (t e), (v e), (t 1) -> (t 1). */
export function tokenLoss(inputs: TokenLossInputs): Tensor {
  return tokenLossParts(inputs).nll
}

/** Logits of all tokens of the vocabulary: (t e), (v e), (v) -> (t v). */
export function tokenLogits({ h, unembedding, bias }: Omit<TokenLossInputs, 'labels'>): Tensor {
  const logits = matmul(h, transpose(unembedding))
  return bias ? add(logits, bias) : logits
}

/**
 * Σ weight · −log p(label), and its gradients; `weights` (t 1) say how much each token counts, e.g. 1 / count or 0.
 * The gradients of the output embedding and of its bias are added to those accumulated so far: (v e) and (v).
 */
export function tokenLossGradients(
  inputs: TokenLossInputs & {
    readonly weights: Tensor
    readonly accumulated: Tensor
    readonly accumulatedBias?: Tensor
  },
): { loss: Tensor; dh: Tensor; dUnembedding: Tensor; dBias?: Tensor } {
  const { h, unembedding, labels, weights, accumulated, accumulatedBias } = inputs
  const { nll, p, peak } = tokenLossParts(inputs)
  // The update depends on `peak` so that the engine reads p before it scatters into it in place.
  const minusOne = sub(mul(peak, 0), 1)
  const dLogits = scatterAdd(p, labels, minusOne, 1)
  return {
    loss: sum(mul(nll, weights), [0, 1], false),
    // Weighting h costs e per token where weighting the logits' gradient would cost v.
    dh: mul(matmul(dLogits, unembedding), weights),
    dUnembedding: add(matmul(transpose(dLogits), mul(h, weights)), accumulated),
    ...(accumulatedBias && {
      dBias: add(reshape(matmul(transpose(weights), dLogits), accumulatedBias.shape), accumulatedBias),
    }),
  }
}

function tokenLossParts(inputs: TokenLossInputs): { nll: Tensor; p: Tensor; peak: Tensor } {
  const { h, unembedding, labels } = inputs
  dims('tokenLoss', { h, unembedding, labels }, { h: 't e', unembedding: 'v e', labels: 't one' })
  const logits = tokenLogits(inputs)
  const p = softmax(logits)
  const peak = max(p, [-1])
  // The largest probability is at least 1 / v, so its logarithm never underflows.
  const logSum = sub(max(logits, [-1]), log(peak))
  return { nll: sub(logSum, gatherElements(logits, labels, 1)), p, peak }
}

/** −log p(class) per sequence from logits and labels in 0 … c−1: (b c), (b 1) -> (b 1). */
export function classLoss(logits: Tensor, labels: Tensor): Tensor {
  dims('classLoss', { logits, labels }, { logits: 'b c', labels: 'b one' })
  const off = sub(logits, stopGradient(max(logits, [-1])))
  return sub(log(sum(exp(off), [-1])), gatherElements(off, labels, 1))
}

/** (prediction − target)² per sequence: (b 1), (b 1) -> (b 1). */
export function squaredError(predictions: Tensor, targets: Tensor): Tensor {
  dims('squaredError', { predictions, targets }, { predictions: 'b one', targets: 'b one' })
  const error = sub(predictions, targets)
  return mul(error, error)
}
