/** The training loop: steps of accumulated batches, clipped, scheduled, validated and checkpointed. */

import { emptied, type FloatArray, type Params } from '../base/array.ts'
import { Interrupted } from '../base/errors.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { type Batch, countLabels, type Objective } from '../execute/objective.ts'
import { createMemory, floatsFor } from '../runtime/memory.ts'
import { clip, clipGroups } from './clip.ts'
import { createSlots, type Optimizer, type Slots } from './optimizers.ts'
import { type ScheduleName, type ScheduleOptions, type ScheduleState, scheduleStart, schedules } from './schedules.ts'

/** Batches without end, whose position can be stored. */
export interface BatchStream {
  /** Not called again before the last one is there. */
  next(): Batch | Promise<Batch>
  state(): unknown
  restore(state: unknown): void
}

/** One measurement of a run. */
export interface CurvePoint {
  readonly step: number
  readonly loss: number
  readonly validationLoss?: number
}

/** Everything that determines how a run goes on; arrays are views that the next step changes. */
export interface TrainState {
  readonly step: number
  readonly params: Params
  readonly slots: Slots
  readonly schedule: ScheduleState
  readonly data: unknown
  readonly curve: readonly CurvePoint[]
  /** Counted tokens so far. */
  readonly tokens: number
  readonly seconds: number
}

/** How a run is measured while it goes. */
export interface Validation {
  /** Steps between measurements. */
  readonly every: number
  readonly loss: (params: Params) => Promise<number>
  /** A held-out loss at or below this ends the run. */
  readonly enough?: number
}

/** When the state of a run is stored: every so often, at a new lowest held-out loss, at the end and before an interruption. */
export interface Checkpointing {
  /** Steps between states. */
  readonly every: number
  /** Seconds after which a state is stored whatever `every` says. Default: no matter how long. */
  readonly seconds?: number
  readonly save: (state: TrainState) => Promise<void>
}

/** Options of {@link train}. */
export interface TrainOptions {
  /** The phase in progress records, e.g. `finetune`. */
  readonly phase: string
  readonly steps: number
  readonly batches: BatchStream
  readonly optimizer: Optimizer
  /** The peak learning rate, above 0. */
  readonly learningRate: number
  readonly schedule?: ScheduleName
  readonly scheduleOptions?: ScheduleOptions
  /** Batches whose gradients make one step. Default 1. */
  readonly accumulate?: number
  /** The largest global norm of the gradient. Default 1. */
  readonly clip?: number
  /** Which parameters learn. Default: all. */
  readonly trains?: (path: string) => boolean
  /**
   * Whether the parameters that learn, and what is resumed from, are given up: their arrays are emptied as they are
   * copied, and take no memory beside the run's own. Default false.
   */
  readonly consume?: boolean
  /** Seed of dropout masks. Default 0. */
  readonly seed?: number
  /** Held-out loss, measured every so many steps and after the last. */
  readonly validate?: Validation
  /** States that are stored while it runs. */
  readonly checkpoint?: Checkpointing
  /** Asked at the end for the state with the lowest held-out loss, whose parameters the run then ends with. */
  readonly best?: () => Promise<TrainState | undefined>
  /** Goes on from here; bit for bit as if never interrupted, on a CPU. */
  readonly resume?: TrainState
  readonly signal?: AbortSignal
  /** Seconds since any fixed moment. */
  readonly clock: () => number
  /** Ends the run after so many seconds, whatever `steps` says. */
  readonly maxSeconds?: number
}

/** What a run ends with. */
export interface Trained {
  /** All parameters, the trained ones in one memory. */
  readonly params: Params
  readonly curve: readonly CurvePoint[]
  readonly seconds: number
  readonly step: number
  /** The step that the parameters are of, where it was chosen. */
  readonly best?: number
}

/**
 * Trains parameters on an objective. The parameters that come in stay as they are unless `consume` says otherwise.
 * @throws Interrupted after a checkpoint when `signal` aborts; Error naming phase and step for a loss, gradient or
 * held-out loss that is not finite.
 */
export async function* train(objective: Objective, initial: Params, options: TrainOptions): Job<Trained> {
  const { phase, steps, batches, optimizer, accumulate = 1, validate, checkpoint, resume, clock, seed = 0 } = options
  const schedule = schedules[options.schedule ?? 'constant']
  const { updates = 1 } = objective
  if (updates > 1 && accumulate > 1) {
    throw new RangeError(
      `${phase}: got ${updates} updates in a batch and ${accumulate} batches in a step, want one of them 1`,
    )
  }
  const { params, grads, slots, memory } = workingSet(initial, optimizer, options)
  const curve: CurvePoint[] = [...(resume?.curve ?? [])]
  const began = clock() - (resume?.seconds ?? 0)
  let scheduleState = resume?.schedule ?? scheduleStart
  let tokens = resume?.tokens ?? 0
  let step = resume?.step ?? 0
  let lowest = Math.min(...curve.map(({ validationLoss = Number.POSITIVE_INFINITY }) => validationLoss))
  let savedAt = clock()
  const isDue = ({ every, seconds = Number.POSITIVE_INFINITY }: Checkpointing) =>
    step % every === 0 || clock() - savedAt >= seconds
  if (resume) batches.restore(resume.data)
  const state = (): TrainState => ({
    step,
    params: Object.fromEntries(Object.keys(grads).map((path) => [path, params[path]!])),
    slots,
    schedule: scheduleState,
    data: batches.state(),
    curve,
    tokens,
    seconds: clock() - began,
  })

  const enough = (loss: number | undefined) =>
    loss !== undefined && loss <= (validate?.enough ?? Number.NEGATIVE_INFINITY)
  while (step < steps && !enough(curve.at(-1)?.validationLoss)) {
    if (options.signal?.aborted) {
      await checkpoint?.save(state())
      throw new Interrupted(`${phase}: stopped after step ${step} of ${steps}`)
    }
    const learningRate = options.learningRate * schedule.ratio(step, steps, options.scheduleOptions, scheduleState)
    const found = await named(step + 1, () => oneStep(learningRate))
    step += 1
    tokens += found.tokens
    let last = step === steps || clock() - began >= (options.maxSeconds ?? Number.POSITIVE_INFINITY)
    let validationLoss: number | undefined
    let isBest = false
    if (validate && (step % validate.every === 0 || last)) {
      validationLoss = await named(step, () => heldOutLoss(validate.loss))
      scheduleState = schedule.observe(scheduleState, validationLoss, options.scheduleOptions)
      last ||= enough(validationLoss)
      isBest = validationLoss < lowest
      lowest = Math.min(lowest, validationLoss)
    }
    curve.push({ step, loss: found.loss, ...(validationLoss !== undefined && { validationLoss }) })
    if (checkpoint && (last || isBest || isDue(checkpoint))) {
      await checkpoint.save(state())
      savedAt = clock()
    }
    yield {
      phase,
      step,
      steps,
      seconds: clock() - began,
      tokens,
      metrics: {
        loss: found.loss,
        ...(validationLoss !== undefined && { validationLoss }),
        gradientNorm: found.norm,
        learningRate,
      },
    }
    if (last) break
  }
  const best = await options.best?.()
  for (const [path, { data }] of Object.entries(best?.params ?? {})) params[path]!.data.set(data)
  return { params, curve, seconds: clock() - began, step, ...(best && { best: best.step }) }

  async function oneStep(learningRate: number): Promise<{ loss: number; norm: number; tokens: number }> {
    const parts: Batch[] = []
    while (parts.length < accumulate) parts.push(await batches.next())
    // Divided once by the tokens of the whole step, so that unequal batches weigh by their tokens.
    const count = objective.count ?? countLabels
    const counted = parts.reduce((total, batch) => total + count(batch), 0)
    let loss = 0
    if (updates > 1) return { ...(await ownUpdates(parts, 1 / counted, learningRate)), tokens: counted }
    for (const [i, batch] of parts.entries()) {
      const rng = random(seed).split('dropout').split(step).split(i)
      loss += await objective.accumulate(params, grads, batch, { tokenWeight: 1 / counted, fresh: i === 0, rng })
    }
    const maxNorm = options.clip ?? 1
    const { groups } = objective
    const { norm, gradScale } = groups ? clipGroups(grads, groups, maxNorm, memory) : clip(grads, { maxNorm }, memory)
    optimizer.step({ params, grads, slots, step: step + 1, learningRate, gradScale }, memory)
    return { loss, norm, tokens: counted }
  }

  /** The objective updates parts of the parameters several times; each is clipped by itself. */
  async function ownUpdates([batch]: readonly Batch[], tokenWeight: number, learningRate: number) {
    const norms: number[] = []
    const update = (paths: readonly string[], part: number) => {
      const own = Object.fromEntries(paths.map((path) => [path, grads[path]!]))
      const { norm, gradScale } = clip(own, { maxNorm: options.clip ?? 1 }, memory)
      norms.push(norm)
      optimizer.step({ params, grads: own, slots, step: step * updates + part + 1, learningRate, gradScale }, memory)
    }
    const rng = random(seed).split('updates').split(step)
    const loss = await objective.accumulate(params, grads, batch!, { tokenWeight, fresh: true, rng, update })
    return { loss, norm: Math.sqrt(norms.reduce((sum, norm) => sum + norm ** 2, 0) / updates) }
  }

  async function heldOutLoss(measure: (params: Params) => Promise<number>): Promise<number> {
    const loss = await measure(params)
    if (Number.isFinite(loss)) return loss
    throw new Error(`held-out loss: got ${loss}; lower the learning rate`)
  }

  /** Says in what phase and step something failed. */
  async function named<T>(at: number, run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      throw new Error(`${phase}: step ${at}: ${(error as Error).message}`, { cause: error })
    }
  }
}

/** Trained parameters, gradients and moments in one memory; the other parameters as they came. */
function workingSet(
  initial: Params,
  optimizer: Optimizer,
  { trains = () => true, resume, consume = false }: Pick<TrainOptions, 'trains' | 'resume' | 'consume'>,
) {
  const trained = Object.entries(initial).filter(([path]) => trains(path))
  if (trained.length === 0) throw new RangeError('train: no parameter is to be trained; check which paths may learn')
  const shapes = trained.map(([, { shape }]) => shape)
  const memory = createMemory(floatsFor(shapes) * (2 + optimizer.slots.length))
  const give = consume ? emptied : () => {}
  const filled = (array: FloatArray, first: FloatArray): FloatArray => {
    const own = memory.allocate(array.shape)
    own.data.set(array.data)
    give(array)
    if (array !== first) give(first)
    return own
  }
  const own = Object.fromEntries(
    trained.map(([path, array]) => [path, filled(resume?.params[path] ?? array, array)] as const),
  )
  const grads = Object.fromEntries(trained.map(([path, { shape }]) => [path, memory.allocate(shape)]))
  const slots = createSlots(optimizer, own, memory.allocate)
  for (const [slot, arrays] of Object.entries(resume?.slots ?? {})) {
    for (const [path, array] of Object.entries(arrays)) {
      slots[slot]![path]!.data.set(array.data)
      give(array)
    }
  }
  return { params: { ...initial, ...own } as Params, grads: grads as Params, slots, memory }
}
