/** The output layer and next-token loss in one graph, with its gradients written by hand. */

import { add, gatherElements, log, matmul, max, mul, scatterAdd, softmax, sub, sum, transpose } from '../graph/ops.ts'
import { dims } from '../graph/shapes.ts'
import type { Tensor } from '../graph/tensor.ts'

/** Inputs of {@link tokenLoss}. */
export interface TokenLossInputs {
  /** Final hidden states (t e). */
  readonly h: Tensor
  /** Output embedding (v e). */
  readonly unembedding: Tensor
  /** The right next token of each row (t 1), int32 in 0 … v−1. */
  readonly labels: Tensor
}

/** −log p(label) per row: (t e), (v e), (t 1) -> (t 1). */
export function tokenLoss({ h, unembedding, labels }: TokenLossInputs): Tensor {
  return tokenLossParts({ h, unembedding, labels }).nll
}

/**
 * Σ weight · −log p(label), and its gradients; `weights` (t 1) say how much each token counts, e.g. 1 / count or 0.
 * The gradient of the output embedding is added to `accumulated` (v e).
 */
export function tokenLossGradients(
  inputs: TokenLossInputs & { readonly weights: Tensor; readonly accumulated: Tensor },
): { loss: Tensor; dh: Tensor; dUnembedding: Tensor } {
  const { h, unembedding, labels, weights, accumulated } = inputs
  const { nll, p, peak } = tokenLossParts(inputs)
  // The update depends on `peak` so that the engine reads p before it scatters into it in place.
  const minusOne = sub(mul(peak, 0), 1)
  const dLogits = scatterAdd(p, labels, minusOne, 1)
  return {
    loss: sum(mul(nll, weights), [0, 1], false),
    // Weighting h costs e per token where weighting the logits' gradient would cost v.
    dh: mul(matmul(dLogits, unembedding), weights),
    dUnembedding: add(matmul(transpose(dLogits), mul(h, weights)), accumulated),
  }
}

function tokenLossParts({ h, unembedding, labels }: TokenLossInputs): { nll: Tensor; p: Tensor; peak: Tensor } {
  dims('tokenLoss', { h, unembedding, labels }, { h: 't e', unembedding: 'v e', labels: 't one' })
  const logits = matmul(h, transpose(unembedding))
  const p = softmax(logits)
  const peak = max(p, [-1])
  // The largest probability is at least 1 / v, so its logarithm never underflows.
  const logSum = sub(max(logits, [-1]), log(peak))
  return { nll: sub(logSum, gatherElements(logits, labels, 1)), p, peak }
}
