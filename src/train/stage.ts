/** Stages of a longer job: trainings that are stored by name, so that the job goes on where it was interrupted. */

import { floats, type Params } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import type { Trained, TrainOptions, TrainState } from './train.ts'

/** Where stages store their state, and where they go on from. */
export interface StageStore {
  /** Steps between the states that a stage stores; one is stored at its end, and before an interruption, too. Default 50. */
  readonly every?: number
  save(stage: string, state: TrainState): Promise<void>
  /** The last state of a stage; undefined when it has not begun. */
  resume(stage: string): Promise<TrainState | undefined>
}

/** A store that lasts as long as the job. */
export function memoryStages(): StageStore {
  const states = new Map<string, TrainState>()
  return {
    async save(stage, state) {
      const slots = Object.entries(state.slots).map(([slot, arrays]) => [slot, owned(arrays)] as const)
      const { curve } = state
      const kept = { params: owned(state.params), slots: Object.fromEntries(slots), curve: [...curve] }
      states.set(stage, { ...state, ...kept })
    },
    resume: async (stage) => states.get(stage),
  }
}

/** What a job hands to each of its stages. */
export interface StageHost {
  /** Seconds since any fixed moment. */
  readonly clock: () => number
  readonly signal?: AbortSignal
  readonly store?: StageStore
  /** Steps between the states that a stage stores. Default 50. */
  readonly checkpointEvery?: number
}

/** The part of a training's options that its host sets. */
export type StageRun = Pick<TrainOptions, 'phase' | 'clock' | 'signal' | 'resume' | 'checkpoint'>

const usualEvery = 50
/** Seconds after which a stage stores its state, however few steps it has done. */
const checkpointSeconds = 300

/**
 * Runs a training as a stage; a stage that was finished before ends at once with what it had.
 * @param name unique in the job
 * @param phase what is done, for progress: `distill`, `finetune`
 */
export async function* runStage(
  host: StageHost,
  name: string,
  phase: string,
  start: (run: StageRun) => Job<Trained>,
): Job<Trained> {
  const trained = yield* runPlainStage(host, { stage: `${name}.${phase}`, phase: `${phase} ${name}` }, start)
  return { ...trained, params: copied(trained.params) }
}

/**
 * The same for a job of any result.
 * @param names the stage's in the store, and the phase's in progress
 */
export async function* runPlainStage<T>(
  { clock, signal, store, checkpointEvery: every = store?.every ?? usualEvery }: StageHost,
  { stage, phase }: { readonly stage: string; readonly phase: string },
  start: (run: StageRun) => Job<T>,
): Job<T> {
  const resume = await store?.resume(stage)
  return yield* start({
    phase,
    clock,
    ...(signal && { signal }),
    ...(resume && { resume }),
    ...(store && {
      checkpoint: { every, seconds: checkpointSeconds, save: (state: TrainState) => store.save(stage, state) },
    }),
  })
}

function owned(params: Params): Params {
  return Object.fromEntries(
    Object.entries(params).map(([path, { shape, data }]) => [path, floats(shape, data.slice())]),
  )
}

/** Arrays of their own, so that gradients and moments of a finished stage are not kept alive. */
function copied(params: Params): Params {
  return Object.fromEntries(
    Object.entries(params).map(([path, array]) => {
      const isView = array.data.byteLength < array.data.buffer.byteLength
      return [path, isView ? floats(array.shape, array.data.slice()) : array]
    }),
  )
}
