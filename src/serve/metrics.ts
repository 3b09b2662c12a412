/** Numbers about the running server in the text format of Prometheus. */

import type { EngineCounts } from './protocol.ts'

/** Counts requests and times, and writes all as text. */
export interface Metrics {
  /** A request has been answered. @param seconds from its arrival to its end */
  answered(route: string, status: number, seconds: number): void
  /** Seconds from the arrival of a request to its first text. */
  began(seconds: number): void
  text(now: MetricsNow): string
}

/** What is read at the moment of asking. */
export interface MetricsNow {
  readonly counts: EngineCounts
  readonly residentBytes: number
  /** The 99th percentile of the server thread's delay since the last time it was asked for, in seconds. */
  readonly loopDelay: number
}

/** Upper bounds of histograms, in seconds. */
const bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

interface Histogram {
  readonly counts: number[]
  sum: number
  count: number
}

export function createMetrics(): Metrics {
  const requests = new Map<string, number>()
  const durations = histogram()
  const beginnings = histogram()
  return {
    answered(route, status, seconds) {
      const labels = `route="${route}",status="${status}"`
      requests.set(labels, (requests.get(labels) ?? 0) + 1)
      observe(durations, seconds)
    },
    began: (seconds) => observe(beginnings, seconds),
    text: ({ counts, residentBytes, loopDelay }) =>
      [
        ...family(
          'requests_total',
          'counter',
          'Answered requests',
          [...requests].map(([labels, count]) => [`{${labels}}`, count]),
        ),
        ...histogramLines('request_seconds', 'Time from the arrival of a request to its end', durations),
        ...histogramLines('first_text_seconds', 'Time from the arrival of a request to its first text', beginnings),
        ...family('texts', 'gauge', 'Texts in the model by what is done with them', [
          ['{state="waiting"}', counts.waiting],
          ['{state="reading"}', counts.reading],
          ['{state="writing"}', counts.writing],
        ]),
        ...family('tokens_total', 'counter', 'Tokens by what was done with them', [
          ['{kind="read"}', counts.readTokens],
          ['{kind="known"}', counts.knownTokens],
          ['{kind="written"}', counts.writtenTokens],
        ]),
        ...family('prefix_states', 'gauge', 'Kept states of prompts', [['', counts.prefixes]]),
        ...family('prefix_bytes', 'gauge', 'Bytes of kept states of prompts', [['', counts.prefixBytes]]),
        ...family('resident_bytes', 'gauge', 'Resident memory of the process', [['', residentBytes]]),
        ...family('loop_delay_seconds', 'gauge', '99th percentile of the delay of the event loop', [['', loopDelay]]),
        '',
      ].join('\n'),
  }
}

function histogram(): Histogram {
  return { counts: bounds.map(() => 0), sum: 0, count: 0 }
}

function observe(into: Histogram, seconds: number): void {
  for (const [i, bound] of bounds.entries()) if (seconds <= bound) into.counts[i]! += 1
  into.sum += seconds
  into.count += 1
}

type Sample = readonly [labels: string, value: number]

function family(name: string, type: string, help: string, samples: readonly Sample[]): string[] {
  const full = `hedgehog_${name}`
  const lines = samples.map(([labels, value]) => `${full}${labels} ${value}`)
  return [`# HELP ${full} ${help}.`, `# TYPE ${full} ${type}`, ...lines]
}

function histogramLines(name: string, help: string, { counts, sum, count }: Histogram): string[] {
  const full = `hedgehog_${name}`
  return [
    `# HELP ${full} ${help}.`,
    `# TYPE ${full} histogram`,
    ...counts.map((value, i) => `${full}_bucket{le="${bounds[i]}"} ${value}`),
    `${full}_bucket{le="+Inf"} ${count}`,
    `${full}_sum ${sum}`,
    `${full}_count ${count}`,
  ]
}
