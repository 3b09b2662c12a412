/** Language models as they are opened from disk, by the names that people call them. */

import { finish, type Job } from '../base/progress.ts'
import { type Loaded, loadLanguage, loadWriting, type Writing } from '../models/writing.ts'
import { freeMemory } from './freeMemory.ts'
import { openSource } from './source.ts'

/** Runs a job to its end, e.g. drawing the progress of a download. */
export interface Runner {
  run<T>(job: Job<T>): Promise<T>
}

const quietly: Runner = { run: finish }

/**
 * Reads a model folder, a GGUF file, or a model of the Hub, whose download `run` draws.
 * @throws Error naming what is missing or does not fit, into memory too.
 */
export async function openModel(path: string, { run }: Runner = quietly): Promise<Loaded> {
  return loadLanguage(await run(openSource(path)), { memory: freeMemory() })
}

/** The same with what it takes to write text. @throws Error as {@link openModel}. */
export async function openWriting(path: string, { run }: Runner = quietly): Promise<Writing> {
  return loadWriting(await run(openSource(path)), { memory: freeMemory() })
}
