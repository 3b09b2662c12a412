/** Where an experiment keeps its finished rows and the states of trainings, so that it goes on after an interruption. */

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Ledger } from '../experiments/experiment.ts'
import { readJson, writeJson } from '../models/folder.ts'
import { folderSink, folderSource } from '../node/files.ts'
import type { ResultRow } from '../report/experimentTypes.ts'
import { checkFingerprint, resumeFrom, saveCheckpoint } from '../train/checkpoint.ts'
import type { StageStore } from '../train/stage.ts'
import { makeFolder } from './inputs.ts'

const work = 'work'
const jobFile = `${work}/job.json`
const rowsFile = `${work}/rows.json`

/** An experiment's folder while it runs. */
export interface ExperimentStore {
  readonly ledger: Ledger
  readonly stages: StageStore
  /** Removes what only an unfinished experiment needs. */
  finish(): Promise<void>
}

/**
 * Opens a folder, where an experiment with the same settings may have been interrupted.
 * @throws Error when it was one with other settings, naming them.
 */
export async function openExperimentStore(out: string, fingerprint: string, anew: boolean): Promise<ExperimentStore> {
  if (anew) await rm(join(out, work), { recursive: true, force: true })
  await makeFolder(out)
  const [sink, source] = [folderSink(out), folderSource(out)]
  const files = new Set(await source.list())
  if (files.has(jobFile)) {
    checkFingerprint(out, jobFile, String((await readJson(source, jobFile)).fingerprint), fingerprint)
  } else await writeJson(sink, jobFile, { fingerprint })
  const done = files.has(rowsFile) ? ((await readJson(source, rowsFile)) as Record<string, ResultRow>) : {}
  const file = (stage: string) => `${work}/${stage.replaceAll(/[^\w.:+-]/g, '_')}.safetensors`
  return {
    ledger: {
      done: { ...done },
      async note(row) {
        done[row.name] = row
        await writeJson(sink, rowsFile, done)
      },
    },
    stages: {
      save: (stage, state) => saveCheckpoint(sink, file(stage), state, fingerprint),
      async resume(stage) {
        if (!(await source.list()).includes(file(stage))) return undefined
        return resumeFrom(source, file(stage), fingerprint)
      },
    },
    finish: () => rm(join(out, work), { recursive: true, force: true }),
  }
}
