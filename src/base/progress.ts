/** Progress records: what every long job yields, for a progress bar, a chart or a test to collect. */

/** One report of a running job. Values a job does not know are left out. */
export interface Progress {
  /** What is being done, e.g. `finetune`; a bar is drawn per phase. */
  readonly phase: string
  /** Steps done in this phase, from 0. */
  readonly step: number
  /** Steps in this phase. */
  readonly steps: number
  /** Seconds since the phase began. */
  readonly seconds: number
  /** Tokens processed in this phase so far. */
  readonly tokens?: number
  /** Metrics by name, e.g. `loss`, `learningRate`, `gradientNorm`, `validationLoss`. */
  readonly metrics?: Readonly<Record<string, number>>
  /** One line a person should see, e.g. where a checkpoint was written. */
  readonly message?: string
}

/** A job that yields {@link Progress} while it runs and returns its result. */
export type Job<T> = AsyncGenerator<Progress, T, void>

/** Runs a job to its end and returns its result, handing each record to `see`. */
export async function finish<T>(job: Job<T>, see: (progress: Progress) => void = () => {}): Promise<T> {
  for (;;) {
    const next = await job.next()
    if (next.done) return next.value
    see(next.value)
  }
}
