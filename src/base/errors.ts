/** The one error class of our own: wrong use of a command, which exits with 2 instead of 1. */

/** Wrong arguments of a command or job: an unknown option, a bad value, an output folder that is not empty. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
