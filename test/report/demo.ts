/** A report of made-up numbers, shaped like a real one, for tests and for looking at the page. */

import { random } from '../../src/base/random.ts'
import type { AttentionMap, Curve, HeadScore, Report, WeightCurve } from '../../src/report/types.ts'

const layers = 4
const heads = 3
const words = 'The old house on the hill had been empty for years , and nobody in the village'.split(' ')

/** A made-up report; equal seeds give equal reports. */
export function demoReport(seed = 0): Report {
  return {
    name: 'tiny-4x3',
    seconds: 412.3,
    peakMemoryBytes: 1.34e9,
    seed,
    versions: { hedgehog: '0.1.0', node: 'v20.1.0', onnxruntime: '1.30.0' },
    command: "hedgehog convert models/tiny --data 'my corpus.txt' --compare elu,t2r",
    model: { family: 'gpt2', layers, heads, width: 96, parameters: 1_234_567 },
    data: { trainTokens: 1_012_345, validationTokens: 50_000, testTokens: 49_152, length: 256 },
    rows: [
      { name: 'teacher', perplexity: 31.9, loss: 3.462, entropy: 2.1, monotonicity: 1, seconds: 4, note: 'as it came' },
      { name: 'teacher-finetuned', perplexity: 28.51, loss: 3.35, entropy: 2.08, monotonicity: 1, seconds: 81 },
      { name: 'untrained', perplexity: 2143.7, loss: 7.67, kl: 1.31, entropy: 4.02, monotonicity: 0.71, seconds: 4 },
      { name: 't2r', perplexity: 38.22, loss: 3.643, kl: 1.12, entropy: 3.9, monotonicity: 0.42, seconds: 90 },
      { name: 'elu', perplexity: 36.9, loss: 3.608, kl: 1.22, entropy: 4.1, monotonicity: 0.55, seconds: 88 },
      {
        name: 'hedgehog-distilled',
        perplexity: 34.4,
        loss: 3.538,
        kl: 0.21,
        entropy: 2.4,
        monotonicity: 0.97,
        seconds: 70,
      },
      {
        name: 'hedgehog',
        perplexity: 29.83,
        loss: 3.396,
        kl: 0.27,
        entropy: 2.5,
        monotonicity: 0.95,
        seconds: 152,
        note: 'distilled, then finetuned',
      },
    ],
    curves: curves(seed),
    heads: ['hedgehog', 'elu'].flatMap((row) => headScores(row, seed)),
    maps: [map(1, 2, words, seed), map(3, 0, [...words, ...words].slice(0, 32), seed + 1)],
    weightCurves: [weightCurve(1, 2, seed), weightCurve(3, 0, seed + 1)],
  }
}

function curves(seed: number): Curve[] {
  const draw = random(seed).split('curves')
  const curve = (name: string, phase: string, from: number, to: number, steps: number): Curve => ({
    name,
    phase,
    points: Array.from({ length: steps }, (_, i) => {
      const loss = to + (from - to) * Math.exp((-5 * i) / steps)
      const point = { step: i + 1, loss: loss + 0.06 * draw.normal() }
      return i % 50 === 49 ? { ...point, validationLoss: loss + 0.04 } : point
    }),
  })
  return [
    curve('hedgehog', 'distill', 3.1, 2.35, 300),
    curve('teacher-finetuned', 'finetune', 3.6, 3.33, 300),
    curve('hedgehog', 'finetune', 3.8, 3.38, 300),
    curve('elu', 'finetune', 6.4, 3.6, 300),
    curve('t2r', 'finetune', 6.6, 3.64, 300),
  ]
}

function headScores(row: string, seed: number): HeadScore[] {
  const draw = random(seed).split(row)
  return Array.from({ length: layers * heads }, (_, i) => {
    const [layer, head] = [Math.floor(i / heads), i % heads]
    const entropyTeacher = 1.2 + 0.5 * layer * draw.uniform()
    const kl = (row === 'elu' ? 0.9 : 0.15) + 0.4 * draw.uniform()
    return { layer, head, row, kl, entropyTeacher, entropyStudent: entropyTeacher + kl, monotonicity: 1 - kl / 3 }
  })
}

function map(layer: number, head: number, tokens: readonly string[], seed: number): AttentionMap {
  const draw = random(seed).split('map')
  const scores = tokens.map((_, i) => tokens.slice(0, i + 1).map((_, j) => 2 * draw.normal() - 0.08 * (i - j)))
  const soft = (temperature: number) =>
    scores.map((row) => {
      const weights = row.map((score) => Math.exp(score / temperature))
      const sum = weights.reduce((a, b) => a + b, 0)
      return tokens.map((_, j) => (weights[j] ?? 0) / sum)
    })
  return {
    layer,
    head,
    tokens: tokens.map((t, i) => (i > 0 ? ` ${t}` : t)),
    teacher: soft(1),
    student: soft(1.3),
    untrained: soft(9),
  }
}

function weightCurve(layer: number, head: number, seed: number): WeightCurve {
  const draw = random(seed).split('weights')
  const series = [
    { name: 'teacher', weight: (x: number) => 0.02 * Math.exp(x) },
    { name: 'hedgehog', weight: (x: number) => 0.025 * Math.exp(0.9 * x) * (1 + 0.15 * draw.normal()) },
    { name: 'elu', weight: (x: number) => 0.05 + 0.01 * x + 0.01 * draw.normal() },
  ]
  const points = (weight: (x: number) => number) =>
    Array.from({ length: 120 }, () => draw.normal()).map((x): [number, number] => [x, Math.max(0, weight(x))])
  return { layer, head, series: series.map(({ name, weight }) => ({ name, points: points(weight) })) }
}
