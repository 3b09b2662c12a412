/** Ledgers: results of the parts of a job by name, so that a job that is taken up again repeats none that was noted. */

/** Where a job notes what it has finished. Values are plain JSON. */
export interface Ledger<T = unknown> {
  readonly done: Readonly<Record<string, T>>
  /** When this is over, the value outlives the process. */
  note(name: string, value: T): Promise<void>
}

/** A ledger that keeps nothing. */
export const noLedger: Ledger<never> = { done: {}, note: async () => {} }

/** The value of a part: as it was noted, else computed and noted now. */
export async function noted<T>(ledger: Ledger | undefined, name: string, compute: () => Promise<T>): Promise<T> {
  if (ledger && Object.hasOwn(ledger.done, name)) return ledger.done[name] as T
  const value = await compute()
  await ledger?.note(name, value)
  return value
}
