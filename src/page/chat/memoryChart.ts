/** What is kept of a text, beside what a cache of keys and values would take. */

import { formatBytes, formatCount } from '../../base/format.ts'
import { lineChart, type Series } from '../../report/plots.ts'
import type { MemorySizes } from './types.ts'

/** How far the chart reaches at least, in tokens. */
const leastTokens = 256

/** Bytes over the length of the text: the state, a line, and the cache that grows; the mark is where the text is now. */
export function memoryChart({ tokens, stateBytes, cacheBytesPerToken }: MemorySizes, grows: boolean): string {
  const end = Math.max(leastTokens, 2 ** Math.ceil(Math.log2(Math.max(1, tokens * 1.25))))
  const megabytes = (bytes: number) => bytes / 1e6
  const now = megabytes(tokens * cacheBytesPerToken)
  const line = (name: string, hue: number, bytes: (at: number) => number) => {
    return { name, hue, points: [0, end].map((at) => [at, megabytes(bytes(at))] as const) }
  }
  const cache = line('key/value cache', 2, (at) => at * cacheBytesPerToken)
  const state = line('state', 1, () => stateBytes)
  const top = Math.max(now, grows ? 0 : megabytes(stateBytes))
  const mark: Series = { name: 'now', hue: 0, dashed: true, points: [tokens, tokens].map((at, i) => [at, i * top]) }
  const cacheWords = `a key/value cache that grows to ${formatBytes(end * cacheBytesPerToken)} at ${end} tokens`
  return lineChart({
    label: grows
      ? `The memory is ${cacheWords}`
      : `State of ${formatBytes(stateBytes)} at any length, and ${cacheWords}`,
    x: 'tokens of text',
    y: 'memory (MB)',
    height: 220,
    series: grows ? [cache, mark] : [{ ...state, strong: true }, cache, mark],
  })
}

/** The same in words. */
export function memoryWords({ tokens, stateBytes, cacheBytesPerToken }: MemorySizes, grows: boolean): string {
  const even = Math.ceil(stateBytes / cacheBytesPerToken)
  const far = 100_000
  const farBytes = formatBytes(far * cacheBytesPerToken)
  if (grows) return `All keys and values are kept: at ${formatCount(far)} tokens they would be ${farBytes}.`
  const side = tokens >= even ? 'smaller than the cache' : `larger than the cache up to ${even} tokens`
  return `The state is ${side}, and stays as it is: at ${formatCount(far)} tokens the cache would be ${farBytes}.`
}
