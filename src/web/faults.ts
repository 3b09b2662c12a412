/** Failures of the engine and the browser in words that say what to do. */

/** Patterns of what engine and browser say when memory is short. */
const memoryWords =
  /bad_alloc|out of memory|OOM|allocation failed|failed to allocate|cannot enlarge memory|Array buffer allocation/i

/** The error of an engine's call, with advice where the cause is known; `lost` is why the GPU went away, if it did. */
export function explained(where: string, provider: string, error: unknown, lost?: string): Error {
  const reason = error instanceof Error ? error.message : wordsOf(error)
  const failed = (what: string, advice: string) =>
    new Error(`${where}: ${what} (${reason}); ${advice}`, { cause: error })
  if (lost !== undefined || /device (is|was) lost|lost device|Device lost/i.test(reason)) {
    const advice = 'work that was saved goes on after the page is loaded again; choose WebAssembly if it comes back'
    return failed('the browser lost the GPU', advice)
  }
  if (memoryWords.test(reason)) {
    return failed('the browser has no memory left for this', 'take shorter or fewer sequences, or close other tabs')
  }
  if (/fetch|import|network|no available backend/i.test(reason) && where === 'openDevice') {
    return failed(`the engine of ${provider} cannot be loaded`, 'check the network, then load the page again')
  }
  return error instanceof Error ? error : new Error(`${where}: ${provider}: ${reason}`, { cause: error })
}

/** The engine throws plain numbers where WebAssembly aborts without exceptions. */
function wordsOf(error: unknown): string {
  return typeof error === 'number' ? `the engine failed with code ${error}; it may be out of memory` : String(error)
}
