/** The table of metrics: what each is measured on, the range of its values, which way is better, and where it is from. */

import { accuracy, type Classes, f1, f1Macro, matthews } from './classification.ts'
import { bitsPerByte, lossByPosition, perplexityOf, type TokenLosses } from './language.ts'
import { checkEach, pairCount } from './pairs.ts'
import { pearson, spearman } from './ranks.ts'
import { type Overlap, type RougeOptions, rougeL, rougeLsum, rougeN } from './rouge.ts'

/** Numbers that a model gives beside those that are wanted, finite. */
export interface Scores {
  readonly scores: ArrayLike<number>
  readonly targets: ArrayLike<number>
}

/** Texts that a model wrote beside those that are wanted. */
export interface Texts extends RougeOptions {
  readonly texts: readonly string[]
  readonly references: readonly string[]
}

/** What metrics are measured on, by the name that {@link Metric} `needs`. */
export interface MetricInputs {
  readonly classes: Classes
  readonly scores: Scores
  readonly texts: Texts
  readonly tokens: TokenLosses
}

/** One number, and the numbers behind it where there are any, e.g. precision and recall. */
export interface Measured {
  readonly value: number
  readonly parts?: Readonly<Record<string, number>>
}

/** A metric that is measured on one kind of input. */
export interface MetricOn<Need extends keyof MetricInputs> {
  readonly needs: Need
  /** One line, without a full stop. */
  readonly summary: string
  /** The smallest and the largest value. */
  readonly range: readonly [least: number, most: number]
  readonly better: 'higher' | 'lower'
  readonly source: string
  /** @throws RangeError for no examples, unequal numbers of them, or values that cannot be measured. */
  measure(input: MetricInputs[Need]): Measured
}

/** An entry of the table; `needs` tells which input it takes. */
export type Metric = { readonly [Need in keyof MetricInputs]: MetricOn<Need> }[keyof MetricInputs]

const share = [0, 1] as const
const correlation = [-1, 1] as const
const scikit = 'as in scikit-learn'
const rouge = 'Lin 2004, as in rouge_score 0.1.2'

/** Every metric by name. */
export const metrics = {
  accuracy: onClasses('share of examples whose class is right', share, scikit, accuracy),
  f1: onClasses('F1 of class 1', share, scikit, f1),
  'f1-macro': onClasses('mean F1 of all classes', share, scikit, f1Macro),
  matthews: onClasses('Matthews correlation of classes', correlation, 'Gorodkin 2004, R_K; scikit-learn', matthews),
  pearson: onScores('correlation of scores', 'as in scipy, 0 where nothing varies', pearson),
  spearman: onScores('correlation of the ranks of scores', 'as in scipy, 0 where nothing varies', spearman),
  'rouge-1': onTexts('words in common, mean F', (...pair) => rougeN(1, ...pair)),
  'rouge-2': onTexts('pairs of words in common, mean F', (...pair) => rougeN(2, ...pair)),
  'rouge-l': onTexts('longest common subsequence of words, mean F', rougeL),
  'rouge-lsum': onTexts('longest common subsequences line by line, mean F', rougeLsum),
  perplexity: {
    needs: 'tokens',
    summary: 'exp of the mean loss of a token',
    range: [1, Infinity],
    better: 'lower',
    source: 'Jelinek et al. 1977',
    measure: (input) => ({ value: perplexityOf(input) }),
  },
  'perplexity-by-position': {
    needs: 'tokens',
    summary: 'perplexity of the later half of positions, and of 0, 1, 2–3, 4–7, … apart',
    range: [1, Infinity],
    better: 'lower',
    source: 'losses by position as in arXiv 2001.08361',
    measure: byPosition,
  },
  'bits-per-byte': {
    needs: 'tokens',
    summary: 'bits that a byte of text costs, whatever the tokenizer',
    range: [0, Infinity],
    better: 'lower',
    source: 'arXiv 2101.00027, section 3.1',
    measure: (input) => ({ value: bitsPerByte(input) }),
  },
} as const satisfies Readonly<Record<string, Metric>>

/** A name in the table of metrics. */
export type MetricName = keyof typeof metrics

/** The metric of a name. @throws RangeError at `where`, naming the known ones. */
export function metricNamed(name: string, where = 'metricNamed'): Metric {
  if (Object.hasOwn(metrics, name)) return metrics[name as MetricName]
  throw new RangeError(`${where}: got metric ${name}, want one of ${Object.keys(metrics).join(', ')}`)
}

function onClasses(
  summary: string,
  range: readonly [number, number],
  source: string,
  measure: (classes: Classes) => number,
): MetricOn<'classes'> {
  return { needs: 'classes', summary, range, better: 'higher', source, measure: (input) => ({ value: measure(input) }) }
}

function onScores(
  summary: string,
  source: string,
  measure: (scores: ArrayLike<number>, targets: ArrayLike<number>) => number,
): MetricOn<'scores'> {
  const checked = ({ scores, targets }: Scores) => {
    pairCount('correlation', scores, targets)
    checkEach('correlation: scores', scores, Number.isFinite, 'a finite number')
    checkEach('correlation: targets', targets, Number.isFinite, 'a finite number')
    return { value: measure(scores, targets) }
  }
  return { needs: 'scores', summary, range: correlation, better: 'higher', source, measure: checked }
}

/** Means over pairs; the value is that of F. */
function onTexts(
  summary: string,
  score: (text: string, reference: string, options: RougeOptions) => Overlap,
): MetricOn<'texts'> {
  const measure = ({ texts, references, stem = false }: Texts) => {
    const count = pairCount('rouge', texts, references)
    const found = texts.map((text, i) => score(text, references[i]!, { stem }))
    const mean = (part: keyof Overlap) => found.reduce((sum, one) => sum + one[part], 0) / count
    return { value: mean('f'), parts: { precision: mean('precision'), recall: mean('recall') } }
  }
  return { needs: 'texts', summary, range: share, better: 'higher', source: rouge, measure }
}

function byPosition(input: TokenLosses): Measured {
  const rows = lossByPosition(input)
  const parts = rows.map(({ from, to, perplexity }) => [from === to ? `${from}` : `${from}–${to}`, perplexity] as const)
  const middle = (rows.at(-1)!.to + 1) / 2
  const later = lossByPosition(input, middle < 1 ? [0] : [0, Math.ceil(middle)]).at(-1)!
  return { value: later.perplexity, parts: Object.fromEntries(parts) }
}
