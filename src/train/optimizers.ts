/** The table of optimizers: how gradients change parameters, and which moments are kept for that. */

import { type FloatArray, floats, type Params } from '../base/array.ts'
import { type Kernels, plainKernels } from '../runtime/kernels.ts'

/** Moments by slot name, then by parameter path: what a checkpoint keeps of an optimizer besides the step count. */
export type Slots = Readonly<Record<string, Params>>

/** An optimizer with its options set. */
export interface Optimizer {
  /** Its name in {@link optimizers}. */
  readonly name: string
  /** Names of the arrays kept per parameter, each of the parameter's shape and zeros at first. */
  readonly slots: readonly string[]
  /**
   * Changes, in place, the parameters that have a gradient and their slots; gradients are only read.
   * @throws Error when a gradient has no parameter or no slot of its path.
   * @throws RangeError when shapes differ, or a number of the update is out of range.
   */
  step(update: Update, kernels?: Kernels): void
}

/** What one optimizer step works on. */
export interface Update {
  readonly params: Params
  /** Gradients by parameter path; parameters without one stay as they are. May be a part, as when blocks are streamed. */
  readonly grads: Params
  readonly slots: Slots
  /** Steps counted from 1, this one included. */
  readonly step: number
  /** Learning rate of this step, at least 0. */
  readonly learningRate: number
  /** Gradients are multiplied by this first: clipping, one over the tokens of a batch. Default 1. */
  readonly gradScale?: number
}

/** Options of every optimizer. */
export interface DecayOptions {
  /** Decoupled: each step a parameter loses `learningRate · weightDecay` of itself. At least 0, default 0.01. */
  readonly weightDecay?: number
  /** Which parameters decay. Default {@link isMatrix}. */
  readonly decays?: (path: string, shape: readonly number[]) => boolean
  /** What the learning rate of a parameter is multiplied by, above 0. Default 1 for all. */
  readonly rateOf?: (path: string) => number
}

/** Options of {@link adamw}; the defaults are PyTorch's. */
export interface AdamWOptions extends DecayOptions {
  /** Decay of the mean of gradients, in [0, 1). Default 0.9. */
  readonly beta1?: number
  /** Decay of the mean of squared gradients, in [0, 1). Default 0.999. */
  readonly beta2?: number
  /** Added to the root of the mean square, above 0. Default 1e-8. */
  readonly epsilon?: number
}

/** Options of {@link sgd}. */
export interface SgdOptions extends DecayOptions {
  /** Decay of the running sum of gradients, in [0, 1). Default 0.9. */
  readonly momentum?: number
}

/** Every optimizer by name: a function from its options, all of which have defaults, to the optimizer. */
export const optimizers = { adamw, sgd } as const

/** The name of an optimizer. */
export type OptimizerName = keyof typeof optimizers

/** Matrices, embeddings and stacks of them decay; biases, norms and single numbers do not. */
export function isMatrix(_path: string, shape: readonly number[]): boolean {
  return shape.length >= 2
}

const equalRates = (): number => 1

/** AdamW (arXiv 1711.05101, algorithm 2), with bias correction. @throws RangeError when an option is out of range. */
export function adamw(options: AdamWOptions = {}): Optimizer {
  const {
    beta1 = 0.9,
    beta2 = 0.999,
    epsilon = 1e-8,
    weightDecay = 0.01,
    decays = isMatrix,
    rateOf = equalRates,
  } = options
  check('adamw', 'beta1', beta1, isFraction(beta1), 'at least 0 and below 1')
  check('adamw', 'beta2', beta2, isFraction(beta2), 'at least 0 and below 1')
  // Below the smallest float32, a gradient of zero would divide 0 by 0.
  check('adamw', 'epsilon', epsilon, Math.fround(epsilon) > 0 && epsilon < Infinity, 'a finite number above 1e-45')
  check('adamw', 'weightDecay', weightDecay, isAmount(weightDecay), 'a finite number from 0')
  return {
    name: 'adamw',
    slots: ['m', 'v'],
    step(update, kernels = plainKernels) {
      const { learningRate: rate, gradScale } = checkUpdate('adamw', update)
      const correction1 = 1 - beta1 ** update.step
      const correction2 = 1 - beta2 ** update.step
      for (const path of Object.keys(update.grads)) {
        const [parameter, gradient, m, v] = arraysAt(path, update, 'm', 'v')
        const decay = decays(path, parameter.shape) ? weightDecay : 0
        const betas = { beta1, beta2, epsilon, correction1, correction2 }
        const learningRate = rate * rateOf(path)
        kernels.adamw(parameter, gradient, m, v, { learningRate, weightDecay: decay, gradScale, ...betas })
      }
    },
  }
}

/** Stochastic gradient descent with momentum: s = momentum · s + g, p −= rate · (s + decay · p). @throws RangeError */
export function sgd(options: SgdOptions = {}): Optimizer {
  const { momentum = 0.9, weightDecay = 0.01, decays = isMatrix, rateOf = equalRates } = options
  check('sgd', 'momentum', momentum, isFraction(momentum), 'at least 0 and below 1')
  check('sgd', 'weightDecay', weightDecay, isAmount(weightDecay), 'a finite number from 0')
  return {
    name: 'sgd',
    slots: ['sum'],
    step(update) {
      const { learningRate: rate, gradScale } = checkUpdate('sgd', update)
      for (const path of Object.keys(update.grads)) {
        const [parameter, gradient, sum] = arraysAt(path, update, 'sum')
        const decay = decays(path, parameter.shape) ? weightDecay : 0
        const [p, g, s] = [parameter.data, gradient.data, sum.data]
        const learningRate = rate * rateOf(path)
        for (let i = 0; i < p.length; i++) {
          const moved = momentum * s[i]! + gradScale * g[i]!
          s[i] = moved
          p[i] = p[i]! - learningRate * (moved + decay * p[i]!)
        }
      }
    },
  }
}

/** Slots of zeros for the given parameters. @param allocate Where they live, e.g. `memory.allocate`. */
export function createSlots(
  optimizer: Optimizer,
  params: Params,
  allocate: (shape: readonly number[]) => FloatArray = floats,
): Slots {
  const zeros = () => Object.entries(params).map(([path, { shape }]) => [path, allocate(shape)] as const)
  return Object.fromEntries(optimizer.slots.map((slot) => [slot, Object.fromEntries(zeros())]))
}

/** The parameter, its gradient and its slots, all of the parameter's shape. */
function arraysAt<const Names extends readonly string[]>(
  path: string,
  { params, grads, slots }: Update,
  ...names: Names
): [FloatArray, FloatArray, ...{ [Index in keyof Names]: FloatArray }] {
  const parameter = params[path]
  if (!parameter) throw new Error(`optimizer: got a gradient for ${path}, which is not a parameter`)
  const shaped = (what: string, array: FloatArray | undefined): FloatArray => {
    if (!array) throw new Error(`optimizer: ${path} has no ${what}; make them with createSlots`)
    if (`${array.shape}` === `${parameter.shape}`) return array
    throw new RangeError(`optimizer: ${path}: got ${what} [${array.shape}], want the parameter's [${parameter.shape}]`)
  }
  const found = names.map((name) => shaped(`slot ${name}`, slots[name]?.[path]))
  return [parameter, shaped('gradient', grads[path]), ...(found as { [Index in keyof Names]: FloatArray })]
}

function checkUpdate(where: string, { step, learningRate, gradScale = 1 }: Update) {
  check(where, 'step', step, Number.isInteger(step) && step >= 1, 'a whole number from 1')
  check(where, 'learningRate', learningRate, isAmount(learningRate), 'a finite number from 0')
  check(where, 'gradScale', gradScale, Number.isFinite(gradScale), 'a finite number')
  return { learningRate, gradScale }
}

function check(where: string, name: string, value: number, fits: boolean, want: string): void {
  if (!fits) throw new RangeError(`${where}: got ${name} ${value}, want ${want}`)
}

function isFraction(value: number): boolean {
  return value >= 0 && value < 1
}

function isAmount(value: number): boolean {
  return value >= 0 && value < Infinity
}
