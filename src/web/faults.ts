/** Failures of the engine and the browser in words that say what to do. */

/** The engine cannot go on: the GPU is lost, or memory has run out. What it runs in has to be started anew. */
export class EngineFault extends Error {
  override readonly name = 'EngineFault'
}

/** What engine and browser say when memory is short. */
const memoryWords =
  /bad_alloc|out of memory|\bOOM\b|allocation failed|failed to allocate|cannot enlarge memory|could not allocate|Out of bounds memory/i

/** The error of an engine's call, with advice where the cause is known; `lost` is why the GPU went away, if it did. */
export function explained(where: string, provider: string, error: unknown, lost?: string): Error {
  if (error instanceof EngineFault) return error
  const reason = error instanceof Error ? error.message : wordsOf(error)
  const fault = (what: string, advice: string) =>
    new EngineFault(`${where}: ${what} (${(lost ?? reason).split('\n')[0]}); ${advice}`, { cause: error })
  if (lost !== undefined || /device (is|was) lost|lost device/i.test(reason)) {
    return fault('the browser lost the GPU', 'start again: what was saved goes on; choose WebAssembly if it comes back')
  }
  if (memoryWords.test(reason)) {
    return fault(
      'the browser has no memory left for this',
      'take shorter or fewer sequences, or a smaller model, or close other tabs',
    )
  }
  if (where === 'openDevice') {
    const advice = 'check the network, then load the page again'
    return new Error(`${where}: the engine of ${provider} cannot be loaded (${reason}); ${advice}`, { cause: error })
  }
  return error instanceof Error ? error : new Error(`${where}: ${provider}: ${reason}`, { cause: error })
}

/** Whether an engine's fault is what an error comes from. */
export function isEngineFault(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof EngineFault) return true
  return false
}

/** The engine throws plain numbers where WebAssembly aborts without exceptions. */
function wordsOf(error: unknown): string {
  return typeof error === 'number' ? `out of memory, as it seems: code ${error}` : String(error)
}
