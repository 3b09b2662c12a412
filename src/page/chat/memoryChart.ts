/** What is kept of a text, beside what a cache of keys and values would take. */

import { formatBytes, formatCount } from '../../base/format.ts'
import { lineChart } from '../../report/plots.ts'
import type { MemorySizes } from './types.ts'

/** How far the chart reaches at least, in tokens. */
const leastTokens = 256

/** Bytes over the length of the text: the state, a line, and the cache that grows; the mark is where the text is now. */
export function memoryChart({ tokens, stateBytes, cacheBytesPerToken }: MemorySizes): string {
  const end = Math.max(leastTokens, 2 ** Math.ceil(Math.log2(Math.max(1, tokens * 1.25))))
  const megabytes = (bytes: number) => bytes / 1e6
  const now = megabytes(tokens * cacheBytesPerToken)
  return lineChart({
    label: `State of ${formatBytes(stateBytes)} at any length, and a key/value cache that grows to ${formatBytes(end * cacheBytesPerToken)} at ${end} tokens`,
    x: 'tokens of text',
    y: 'memory (MB)',
    height: 220,
    series: [
      { name: 'state', hue: 1, points: [0, end].map((at) => [at, megabytes(stateBytes)] as const), strong: true },
      {
        name: 'key/value cache',
        hue: 2,
        points: [0, end].map((at) => [at, megabytes(at * cacheBytesPerToken)] as const),
      },
      {
        name: 'now',
        hue: 0,
        dashed: true,
        points: [
          [tokens, 0],
          [tokens, Math.max(now, megabytes(stateBytes))],
        ],
      },
    ],
  })
}

/** The same in words. */
export function memoryWords({ tokens, stateBytes, cacheBytesPerToken }: MemorySizes, linear: boolean): string {
  const even = Math.ceil(stateBytes / cacheBytesPerToken)
  const far = 100_000
  const farBytes = formatBytes(far * cacheBytesPerToken)
  if (!linear) return `All keys and values are kept: at ${formatCount(far)} tokens they would be ${farBytes}.`
  const side = tokens >= even ? 'smaller than the cache' : `larger than the cache up to ${even} tokens`
  return `The state is ${side}, and stays as it is: at ${formatCount(far)} tokens the cache would be ${farBytes}.`
}
