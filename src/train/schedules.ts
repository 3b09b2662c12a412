/** The table of learning-rate schedules: which share of the peak rate each step takes. */

/** Options of all schedules; each reads the ones it names. */
export interface ScheduleOptions {
  /** Steps over which the rate rises linearly to its peak, 0 to the number of steps. Default 0. Read by all. */
  readonly warmup?: number
  /** `linear`, `cosine`: the share of the peak at the end, 0 to 1. Default 0. */
  readonly finalRatio?: number
  /** `plateau`: the rate is multiplied by this, above 0 and below 1. Default 0.1. */
  readonly factor?: number
  /** `plateau`: validations without improvement that are accepted before the rate falls, from 0. Default 10. */
  readonly patience?: number
  /** `plateau`: a loss is an improvement below `(1 − threshold)` of the best, 0 to 1. Default 1e-4. */
  readonly threshold?: number
  /** `plateau`: the smallest share of the peak, 0 to 1. Default 0. */
  readonly minimum?: number
}

/** What a schedule remembers of validation losses: plain JSON, for a checkpoint. Only `plateau` changes it. */
export interface ScheduleState {
  /** The share of the peak rate that is left. */
  readonly ratio: number
  /** The lowest validation loss so far, null before the first. */
  readonly best: number | null
  /** Validations since then, or since the rate last fell. */
  readonly waited: number
}

/** Learning rate of a step = peak rate · `ratio(step, steps, options, state)`. */
export interface Schedule {
  /**
   * The share of the peak rate, in [0, 1], of step 0, 1, … steps − 1; later steps keep the share of the end.
   * During warm-up it is (step + 1) / (warmup + 1), so that the first step moves and step `warmup` has the peak.
   * @throws RangeError when an option or the step is out of range.
   */
  ratio(step: number, steps: number, options?: ScheduleOptions, state?: ScheduleState): number
  /** The state after a validation loss; most schedules do not react. @throws RangeError when the loss is not finite. */
  observe(state: ScheduleState, loss: number, options?: ScheduleOptions): ScheduleState
}

/** The state in which every schedule starts. */
export const scheduleStart: ScheduleState = { ratio: 1, best: null, waited: 0 }

const constant = curve(() => 1)

/** Every schedule by name. */
export const schedules = {
  /** The peak rate, after warm-up. */
  constant,
  /** After warm-up, a straight line from the peak to `finalRatio` of it. */
  linear: curve((progress, finalRatio) => 1 + (finalRatio - 1) * progress),
  /** After warm-up, half a cosine from the peak to `finalRatio` of it (arXiv 1608.03983, without restarts). */
  cosine: curve((progress, finalRatio) => finalRatio + ((1 - finalRatio) * (1 + Math.cos(Math.PI * progress))) / 2),
  /**
   * After warm-up, a rate that falls by `factor` whenever more than `patience` validations in a row brought no
   * improvement: PyTorch's ReduceLROnPlateau, with a relative threshold and no cooldown.
   */
  plateau: {
    ratio(step, steps, options = {}, state = scheduleStart) {
      plateauOptions(options)
      return constant.ratio(step, steps, options) * state.ratio
    },
    observe: plateau,
  },
} as const satisfies Record<string, Schedule>

/** The name of a schedule. */
export type ScheduleName = keyof typeof schedules

/** A schedule without memory from `shape(progress, finalRatio)`, where progress goes from 0 to 1 after warm-up. */
function curve(shape: (progress: number, finalRatio: number) => number): Schedule {
  return {
    ratio(step, steps, { warmup = 0, finalRatio = 0 } = {}) {
      check('steps', steps, Number.isInteger(steps) && steps >= 1, 'a whole number from 1')
      check('step', step, Number.isInteger(step) && step >= 0, 'a whole number from 0')
      check(
        'warmup',
        warmup,
        Number.isInteger(warmup) && warmup >= 0 && warmup <= steps,
        `a whole number from 0 to ${steps}`,
      )
      check('finalRatio', finalRatio, isShare(finalRatio), 'a number from 0 to 1')
      if (step < warmup) return (step + 1) / (warmup + 1)
      const progress = step >= steps ? 1 : (step - warmup) / (steps - warmup)
      return shape(progress, finalRatio)
    },
    observe: (state) => state,
  }
}

function plateau(state: ScheduleState, loss: number, options: ScheduleOptions = {}): ScheduleState {
  const { factor, patience, threshold, minimum } = plateauOptions(options)
  check('validation loss', loss, Number.isFinite(loss), 'a finite number')
  const { ratio, best, waited } = state
  if (best === null || loss < best - threshold * Math.abs(best)) return { ratio, best: loss, waited: 0 }
  if (waited < patience) return { ratio, best, waited: waited + 1 }
  return { ratio: Math.min(ratio, Math.max(ratio * factor, minimum)), best, waited: 0 }
}

function plateauOptions({ factor = 0.1, patience = 10, threshold = 1e-4, minimum = 0 }: ScheduleOptions) {
  check('factor', factor, factor > 0 && factor < 1, 'a number above 0 and below 1')
  check('patience', patience, Number.isInteger(patience) && patience >= 0, 'a whole number from 0')
  check('threshold', threshold, isShare(threshold), 'a number from 0 to 1')
  check('minimum', minimum, isShare(minimum), 'a number from 0 to 1')
  return { factor, patience, threshold, minimum }
}

function check(name: string, value: number, fits: boolean, want: string): void {
  if (!fits) throw new RangeError(`schedule: got ${name} ${value}, want ${want}`)
}

function isShare(value: number): boolean {
  return value >= 0 && value <= 1
}
