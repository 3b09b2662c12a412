/** The error classes of our own: those that the command line answers with an exit code other than 1. */

/** Wrong arguments of a command or job: an unknown option, a bad value, an output folder that is not empty (exit code 2). */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A job that was asked to stop and did, after saving its state; the message says how to go on (exit code 130). */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}
