/** From logits to a token: temperature, filters that keep the likelier tokens, and a draw. */

/** How a token is drawn. The order is: bias, penalties, temperature, top-k, top-p, min-p. */
export interface Sampling {
  /** Logits are divided by it; 0 always takes the likeliest token. At least 0, default 1. */
  readonly temperature?: number
  /** Keep this many of the likeliest tokens; at least 1, default all. */
  readonly topK?: number
  /** Keep the fewest tokens whose probabilities reach this sum; in (0, 1], default 1 (arXiv 1904.09751). */
  readonly topP?: number
  /** Keep tokens with at least this share of the largest probability; in [0, 1], default 0 (arXiv 2407.01082). */
  readonly minP?: number
  /**
   * Logits of tokens that were read or written before are divided by it where positive, else multiplied; above 0,
   * default 1 for no penalty (arXiv 1909.05858, section 4.1).
   */
  readonly repetitionPenalty?: number
  /** Taken from the logits of tokens that were written before, whatever their number; default 0. */
  readonly presencePenalty?: number
  /** Taken from the logits of tokens that were written before, once for each time; default 0. */
  readonly frequencyPenalty?: number
  /** Added to the logits of tokens, by id. */
  readonly bias?: ReadonlyMap<number, number>
}

/** The tokens that penalties hold for. */
export interface History {
  /** Tokens that were read or written, for the repetition penalty. */
  readonly seen?: Iterable<number>
  /** How often tokens were written, for the presence and frequency penalties. */
  readonly written?: ReadonlyMap<number, number>
}

/** A token beside others, and ln of the probability that the model itself gives it. */
export interface ScoredToken {
  readonly id: number
  readonly logProbability: number
}

/**
 * The probabilities that a token is drawn with: logits of v tokens -> v numbers that sum to 1. Of equally likely tokens
 * a filter keeps those with the smaller ids.
 * @throws RangeError for an option outside of its range; Error when the logits are not finite.
 */
export function tokenProbabilities(logits: Float32Array, sampling: Sampling = {}, history: History = {}): Float64Array {
  checkSampling(sampling)
  const { temperature = 1, topK = logits.length, topP = 1, minP = 0 } = sampling
  const penalised = penalise(logits, sampling, history)
  if (temperature === 0) return certain(logits.length, likeliest(penalised))
  const p = normalised(penalised, temperature)
  if (topK < p.length) keepLargest(p, topK)
  if (topP < 1) keepLargest(p, countReaching(p, topP))
  if (minP > 0) keepFrom(p, minP * largest(p))
  return p
}

/**
 * The token that a uniform draw from [0, 1) falls on: seeded sampling is `drawToken(p, random(seed).uniform())`.
 * Tokens of probability 0 are never drawn.
 */
export function drawToken(probabilities: Float64Array, uniform: number): number {
  let rest = uniform
  let last = -1
  for (let id = 0; id < probabilities.length; id++) {
    const p = probabilities[id]!
    if (p === 0) continue
    last = id
    rest -= p
    if (rest < 0) return id
  }
  // The sum of the probabilities may be a rounding error below the draw.
  return last
}

/** A token by the rules of `sampling`; `uniform` is called once, and not at temperature 0. */
export function sampleToken(logits: Float32Array, sampling: Sampling, history: History, uniform: () => number): number {
  if (sampling.temperature === 0) return likeliest(penalise(logits, sampling, history))
  return drawToken(tokenProbabilities(logits, sampling, history), uniform())
}

/** ln Σ exp of the logits: a logit less it is ln of the probability that the model itself gives the token. */
export function logSum(logits: Float32Array): number {
  const top = largest(logits)
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - top)
  return top + Math.log(sum)
}

/** ln of the probability that the model itself gives a token, before temperature and filters. */
export function logProbability(logits: Float32Array, id: number): number {
  return logits[id]! - logSum(logits)
}

/** The likeliest tokens, at most `count`, likeliest first; of equal ones the smaller id. @param sum their {@link logSum} */
export function likeliestTokens(logits: Float32Array, count: number, sum = logSum(logits)): ScoredToken[] {
  // Sorted by insertion: count is small, and nearly all tokens are below the least that is kept.
  const best: number[] = []
  for (let id = 0; id < logits.length && count > 0; id++) {
    if (best.length === count && !(logits[id]! > logits[best.at(-1)!]!)) continue
    if (best.length === count) best.pop()
    let at = best.length
    while (at > 0 && logits[id]! > logits[best[at - 1]!]!) at -= 1
    best.splice(at, 0, id)
  }
  return best.map((id) => ({ id, logProbability: logits[id]! - sum }))
}

/** The id of the largest logit; of equal ones the smallest. @throws Error when the logits are not finite. */
export function likeliest(logits: Float32Array): number {
  const top = largest(logits)
  checkFinite(top)
  return logits.indexOf(top)
}

/** @throws RangeError naming the option that is outside of its range. */
export function checkSampling(sampling: Sampling): void {
  const { temperature = 1, topK = 1, topP = 1, minP = 0, repetitionPenalty = 1 } = sampling
  const { presencePenalty = 0, frequencyPenalty = 0, bias } = sampling
  const check = (name: string, value: number, holds: boolean, want: string) => {
    if (!holds) throw new RangeError(`sampling: ${name}: got ${value}, want ${want}`)
  }
  check('temperature', temperature, temperature >= 0 && temperature < Infinity, 'a number from 0')
  check('topK', topK, Number.isInteger(topK) && topK >= 1, 'a whole number from 1')
  check('topP', topP, topP > 0 && topP <= 1, 'a number above 0 and at most 1')
  check('minP', minP, minP >= 0 && minP <= 1, 'a number from 0 to 1')
  check('repetitionPenalty', repetitionPenalty, repetitionPenalty > 0 && repetitionPenalty < Infinity, 'above 0')
  check('presencePenalty', presencePenalty, Number.isFinite(presencePenalty), 'a finite number')
  check('frequencyPenalty', frequencyPenalty, Number.isFinite(frequencyPenalty), 'a finite number')
  for (const [id, value] of bias ?? []) check(`bias of token ${id}`, value, Number.isFinite(value), 'a finite number')
}

/** Logits with bias and penalties; the same array where there are none. */
function penalise(logits: Float32Array, sampling: Sampling, { seen = [], written }: History): Float32Array {
  const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, bias } = sampling
  const counts = presencePenalty !== 0 || frequencyPenalty !== 0 ? written : undefined
  if (repetitionPenalty === 1 && !counts?.size && !bias?.size) return logits
  const changed = logits.slice()
  for (const [id, value] of bias ?? []) if (id in changed) changed[id]! += value
  if (repetitionPenalty !== 1) {
    for (const id of new Set(seen)) changed[id]! *= changed[id]! > 0 ? 1 / repetitionPenalty : repetitionPenalty
  }
  for (const [id, count] of counts ?? []) changed[id]! -= presencePenalty + count * frequencyPenalty
  return changed
}

function normalised(logits: Float32Array, temperature: number): Float64Array {
  const top = largest(logits)
  checkFinite(top)
  const p = new Float64Array(logits.length)
  for (let id = 0; id < p.length; id++) p[id] = Math.exp((logits[id]! - top) / temperature)
  return rescale(p)
}

/** Sets all but the `count` largest to 0; the others sum to 1 again. */
function keepLargest(p: Float64Array, count: number): void {
  const edge = nthLargest(p, count)
  let atEdge = count
  for (let id = 0; id < p.length; id++) if (p[id]! > edge) atEdge -= 1
  for (let id = 0; id < p.length; id++) {
    if (p[id] === edge && atEdge > 0) atEdge -= 1
    else if (p[id]! <= edge) p[id] = 0
  }
  rescale(p)
}

/** The `count`-th largest value, found by partitions (Hoare's quickselect): a vocabulary is too long to sort. */
function nthLargest(values: Float64Array, count: number): number {
  const rest = values.slice()
  const wanted = count - 1
  let [low, high] = [0, rest.length - 1]
  while (low < high) {
    const pivot = rest[(low + high) >> 1]!
    let [i, j] = [low, high]
    while (i <= j) {
      while (rest[i]! > pivot) i += 1
      while (rest[j]! < pivot) j -= 1
      if (i > j) break
      ;[rest[i], rest[j]] = [rest[j]!, rest[i]!]
      i += 1
      j -= 1
    }
    if (wanted <= j) high = j
    else if (wanted >= i) low = i
    else break
  }
  return rest[wanted]!
}

function keepFrom(p: Float64Array, edge: number): void {
  for (let id = 0; id < p.length; id++) if (p[id]! < edge) p[id] = 0
  rescale(p)
}

/** How many of the largest it takes to reach a sum. */
function countReaching(p: Float64Array, wanted: number): number {
  // All below this together are less than what may be left out, so they need no sorting.
  const small = (1 - wanted) / p.length
  const ascending = p.filter((x) => x >= small).sort()
  let sum = 0
  let count = 0
  while (count < ascending.length && sum < wanted) {
    count += 1
    sum += ascending[ascending.length - count]!
  }
  return count
}

function rescale(p: Float64Array): Float64Array {
  let sum = 0
  for (let id = 0; id < p.length; id++) sum += p[id]!
  for (let id = 0; id < p.length; id++) p[id] = p[id]! / sum
  return p
}

function certain(length: number, id: number): Float64Array {
  const p = new Float64Array(length)
  p[id] = 1
  return p
}

function largest(values: Float32Array | Float64Array): number {
  let top = -Infinity
  for (let i = 0; i < values.length; i++) {
    // Written so that a NaN wins and is seen.
    if (!(values[i]! <= top)) top = values[i]!
    if (Number.isNaN(top)) return top
  }
  return top
}

function checkFinite(logit: number): void {
  if (Number.isFinite(logit)) return
  throw new Error(`sampling: got a largest logit of ${logit}, want a finite one; the model's weights may be damaged`)
}
