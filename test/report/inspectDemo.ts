/** An inspection of made-up numbers, shaped like a real one. */

import { random } from '../../src/base/random.ts'
import type { InspectReport } from '../../src/report/inspect/types.ts'

const [layers, heads] = [3, 2]
const tokens = ' The old house on the hill'.split(/(?= )/)
const nearness = { 'hedgehog-exp': 0.1, 't2r-hh': 0.4, elu: 1.2, performer: 0.9, relu: 9 }
const properties = ['kl', 'entropy', 'monotonicity', 'inversions']

/** A made-up report; `names` rename its texts. */
export function demoInspection(names: readonly string[] = ['test.txt', 'speech.txt']): InspectReport {
  const draw = random(0)
  const maps = ['softmax', ...Object.keys(nearness)]
  const values = (map: string, by: number) => {
    const kl = by * (nearness[map as keyof typeof nearness] ?? 0)
    return { kl, entropy: 3 + kl, monotonicity: 1 - kl / 2, inversions: kl / 5 }
  }
  const lengths = [
    { length: 64, stretched: false },
    { length: 256, stretched: false },
    { length: 1024, stretched: true },
  ]
  const places = Array.from({ length: layers * heads }, (_, i) => ({ layer: Math.floor(i / heads), head: i % heads }))
  return {
    name: 'demo',
    seconds: 61,
    peakMemoryBytes: 4e8,
    seed: 3,
    versions: { node: '20' },
    command: 'hedgehog inspect demo --data test.txt',
    model: { family: 'gpt2', layers, heads, width: 32, parameters: 12_345 },
    properties: properties.map((name) => ({
      name,
      title: name === 'kl' ? 'KL' : name.slice(0, 8),
      summary: `what ${name} is`,
      unit: 'nats',
      best: name === 'entropy' ? 'softmax' : name === 'monotonicity' ? 'high' : 'low',
    })),
    texts: names.map((name) => ({ name, tokens: 1024 })),
    distillation: { steps: 30, length: 256, tokens: 99_999 },
    lengths,
    mainLength: 256,
    maps: maps.map((name) => ({
      name,
      headDim: 16,
      ...(name !== 'softmax' && { features: name === 'performer' ? 44 : name === 'hedgehog-exp' ? 32 : 16 }),
      parameters: name === 't2r-hh' ? 512 : 0,
      distilledSteps: name === 't2r-hh' ? 30 : 0,
      seconds: 1,
      ...(name === 'elu' && { note: 'as it is' }),
    })),
    rows: names.flatMap((text, t) =>
      lengths.flatMap(({ length }, i) =>
        maps.map((map) => ({ map, text, length, values: values(map, 1 + t / 4 + i / 9) })),
      ),
    ),
    heads: names.flatMap((text) =>
      maps.flatMap((map) => places.map((place) => ({ map, text, ...place, values: values(map, draw.uniform()) }))),
    ),
    shown: [
      {
        layer: 1,
        head: 0,
        tokens,
        maps: maps.map((name) => ({ name, weights: tokens.map((_, i) => Array(i + 1).fill(1 / (i + 1))) })),
      },
    ],
    curves: [
      {
        layer: 1,
        head: 0,
        series: maps.map((name) => ({
          name,
          points: [
            [-3, 0],
            [0, 0.1],
            [2, 0.6],
          ] as const,
        })),
      },
    ],
  }
}
