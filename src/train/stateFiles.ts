/** The states of a job's stages as files: the newest few of each and the best one, and the way back from damaged ones. */

import type { Store } from '../io/files.ts'
import { checkFingerprint, loadCheckpoint, saveCheckpoint } from './checkpoint.ts'
import type { StageStore } from './stage.ts'
import type { CurvePoint, TrainState } from './train.ts'

/** Options of {@link stateFiles}. */
export interface StateFilesOptions {
  /** What the job was asked to do, as JSON: states of another job are not resumed. */
  readonly fingerprint: string
  /** States of a stage that are kept besides the best one, at least 1. Default 2, so that one may be damaged. */
  readonly keep?: number
  /** Told of states that could not be used, one line each. */
  readonly say?: (line: string) => void
  /** Called before a state is written. @throws Error when the folder is no longer the job's. */
  readonly check?: () => Promise<void>
}

/** Stages in a folder. */
export interface StateFiles extends StageStore {
  /** The file of the last state that was stored or resumed, in words; undefined without one. */
  last(): string | undefined
  /** The state of a stage with the lowest held-out loss of those that were stored; undefined without one. */
  best(stage: string): Promise<TrainState | undefined>
}

/** A stored state by its file. */
interface Stored {
  readonly file: string
  readonly step: number
}

/** The states of stages in a folder, each a file that is written as a whole; see {@link StateFilesOptions}. */
export function stateFiles(store: Store, options: StateFilesOptions): StateFiles {
  const { fingerprint, keep = 2, say = () => {}, check = async () => {} } = options
  let last: string | undefined
  const note = (stage: string, { file, step }: Stored) => {
    last = `${store.name}/${file}, after step ${step} of ${stage}`
  }
  const stored = async (stage: string): Promise<Stored[]> => {
    const prefix = `${fileName(stage)}.step-`
    const files = (await store.list().catch((): readonly string[] => [])).filter((file) => file.startsWith(prefix))
    const found = files.map((file) => ({ file, step: Number(file.slice(prefix.length).replace('.safetensors', '')) }))
    return found.filter(({ step }) => Number.isInteger(step)).sort((a, b) => b.step - a.step)
  }

  return {
    last: () => last,
    async save(stage, state) {
      const file = `${fileName(stage)}.step-${String(state.step).padStart(6, '0')}.safetensors`
      const before = await stored(stage)
      await check()
      await saveCheckpoint(store, file, state, fingerprint)
      note(stage, { file, step: state.step })
      const all = [{ file, step: state.step }, ...before.filter((one) => one.file !== file)]
      const kept = new Set([...all.slice(0, keep), bestOf(all, state.curve)])
      for (const one of all) if (!kept.has(one)) await store.remove(one.file)
    },
    async resume(stage) {
      const damaged: string[] = []
      for (const { file, step } of await stored(stage)) {
        const found = await loadCheckpoint(store, file).catch((error: Error) => error)
        if (found instanceof Error) {
          say(`${found.message.replace('; start anew', '')}; it is left out`)
          damaged.push(file)
          continue
        }
        checkFingerprint(store.name, file, found.fingerprint, fingerprint)
        if (damaged.length) say(`${stage}: goes on from the last good state, that of step ${step}`)
        for (const one of damaged) await store.remove(one)
        note(stage, { file, step })
        return found.state
      }
      if (damaged.length) say(`${stage}: has no good state left and begins anew`)
      for (const one of damaged) await store.remove(one)
      return undefined
    },
    async best(stage) {
      const all = await stored(stage)
      const newest = all[0] && (await loadCheckpoint(store, all[0].file)).state
      const best = newest && bestOf(all, newest.curve)
      if (!best) return undefined
      return best === all[0] ? newest : (await loadCheckpoint(store, best.file)).state
    },
  }
}

/** The stored state after the step with the lowest held-out loss, the earliest of equals. */
function bestOf(all: readonly Stored[], curve: readonly CurvePoint[]): Stored | undefined {
  const losses = new Map(curve.map(({ step, validationLoss }) => [step, validationLoss]))
  const measured = all.filter(({ step }) => losses.get(step) !== undefined)
  return measured.sort((a, b) => losses.get(a.step)! - losses.get(b.step)! || a.step - b.step)[0]
}

/** A stage's name as part of a file name. */
const fileName = (stage: string) => stage.replaceAll(/[^\w.:+-]/g, '_')
