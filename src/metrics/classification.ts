/** Metrics of classes: what a model predicts beside what is right, both as class numbers. */

import { checkEach, pairCount } from './pairs.ts'

/** Class numbers, whole and from 0: the predicted one and the right one of each example. */
export interface Classes {
  readonly predictions: ArrayLike<number>
  readonly labels: ArrayLike<number>
}

/** The share of examples whose class is right, in [0, 1]. @throws RangeError for no, unequal or bad class numbers. */
export function accuracy(classes: Classes): number {
  const { total, right } = counts('accuracy', classes)
  return right / total
}

/**
 * F1 of one class, the harmonic mean of precision and recall, in [0, 1]; 0 where the class is neither predicted nor right.
 * @param positive the class that is looked for, default 1
 * @throws RangeError as {@link accuracy}.
 */
export function f1(classes: Classes, positive = 1): number {
  return f1Of(counts('f1', classes), positive)
}

/** The mean of {@link f1} over all classes that are predicted or right, in [0, 1]. @throws RangeError as {@link accuracy}. */
export function f1Macro(classes: Classes): number {
  const found = counts('f1-macro', classes)
  const names = [...found.byClass.keys()]
  return names.reduce((sum, name) => sum + f1Of(found, name), 0) / names.length
}

/**
 * Matthews correlation of two or more classes, in [−1, 1]; 0 where all predictions or all labels are one class.
 * Source: Gorodkin 2004, doi 10.1016/j.compbiolchem.2004.09.006, R_K; for two classes Matthews 1975.
 * @throws RangeError as {@link accuracy}.
 */
export function matthews(classes: Classes): number {
  const { total, right, byClass } = counts('matthews', classes)
  let [both, predictedSquares, labelSquares] = [0, 0, 0]
  for (const { predicted, labelled } of byClass.values()) {
    both += predicted * labelled
    predictedSquares += predicted ** 2
    labelSquares += labelled ** 2
  }
  const [spreadOfPredictions, spreadOfLabels] = [total ** 2 - predictedSquares, total ** 2 - labelSquares]
  if (spreadOfPredictions === 0 || spreadOfLabels === 0) return 0
  return (right * total - both) / (Math.sqrt(spreadOfPredictions) * Math.sqrt(spreadOfLabels))
}

/** How often each class is predicted, is right, and both at once. */
interface Counts {
  readonly total: number
  readonly right: number
  readonly byClass: ReadonlyMap<number, { predicted: number; labelled: number; both: number }>
}

function counts(where: string, { predictions, labels }: Classes): Counts {
  const total = pairCount(where, predictions, labels)
  const isClass = (value: number) => Number.isSafeInteger(value) && value >= 0
  checkEach(`${where}: predictions`, predictions, isClass, 'a class number from 0')
  checkEach(`${where}: labels`, labels, isClass, 'a class number from 0')
  const byClass = new Map<number, { predicted: number; labelled: number; both: number }>()
  const entry = (name: number) => {
    const known = byClass.get(name) ?? { predicted: 0, labelled: 0, both: 0 }
    byClass.set(name, known)
    return known
  }
  let right = 0
  for (let i = 0; i < total; i++) {
    const [predicted, label] = [predictions[i]!, labels[i]!]
    entry(predicted).predicted += 1
    entry(label).labelled += 1
    if (predicted !== label) continue
    entry(label).both += 1
    right += 1
  }
  return { total, right, byClass }
}

function f1Of({ byClass }: Counts, name: number): number {
  const { predicted, labelled, both } = byClass.get(name) ?? { predicted: 0, labelled: 0, both: 0 }
  return predicted + labelled === 0 ? 0 : (2 * both) / (predicted + labelled)
}
