/** Efficiency: the time and the state of one attention layer over the length of the text. */

import { attentionOf, planFor, planNamed } from '../attention/plan.ts'
import { type FloatArray, floats, sizeOf } from '../base/array.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { createWorkspace } from '../execute/workspace.ts'
import { vjp } from '../graph/gradient.ts'
import type { Tensors } from '../graph/trace.ts'
import { initialise } from '../nn/params.ts'
import type { CaseResult, Line } from '../report/experimentTypes.ts'
import { compile } from '../runtime/compile.ts'
import type { Case, Experiment, Setup } from './experiment.ts'
import { chosen } from './settings.ts'

const settings = {
  heads: chosen(12, 'attention heads', 2),
  headDim: chosen(64, 'width of a head', 16),
  shortest: chosen(256, 'tokens of the shortest text', 64),
  longest: chosen(16_384, 'tokens of the longest text; it doubles from the shortest on', 512),
  longestSquare: chosen(4096, 'the same for attention whose memory grows with the square', 512),
  rounds: chosen(5, 'measurements, of which the middle one counts', 1),
}

export const efficiencyExperiments = {
  efficiency: {
    title: 'Time of one attention layer over the length of the text',
    source: 'arXiv 2402.04347, efficiency; its values could not be read off',
    data: { kind: 'generated', about: 'normally distributed queries, keys and values' },
    columns: [
      { name: 'forward', unit: 'ms/1k', better: 'lower', digits: 2 },
      { name: 'both', unit: 'ms/1k', better: 'lower', digits: 2 },
      { name: 'growth', better: 'lower', digits: 2 },
      { name: 'state', unit: 'kB', better: 'lower', digits: 0 },
    ],
    settings,
    attentions: ['softmax', 'hedgehog', 'hedgehog+half', 't2r', 'elu', 'performer', 'cosformer', 'taylor', 'hybrid:64'],
    published: [],
    cases: async (setup) => setup.attentions.map((name): Case => ({ name, run: () => measured(name, setup) })),
  },
} as const satisfies Record<string, Experiment>

/**
 * `forward` and `both` (forward and backward) are milliseconds per 1024 tokens at the longest text; `growth` is the time per
 * token there over that at the shortest: 1 is linear. `state` is what a text of that length leaves to generate from.
 */
async function* measured(name: string, setup: Setup): Job<CaseResult> {
  const { shortest, longest, longestSquare, heads, headDim } = setup.settings as Record<keyof typeof settings, number>
  const plan = planNamed(name)
  const square = plan.kind === 'softmax' || plan.kind === 'top-k'
  const most = square ? Math.min(longest, longestSquare) : longest
  const points = { forward: [] as [number, number][], both: [] as [number, number][] }
  const lengths = Array.from({ length: Math.floor(Math.log2(most / shortest)) + 1 }, (_, i) => shortest * 2 ** i)
  for (const [i, length] of lengths.entries()) {
    for (const pass of ['forward', 'both'] as const) {
      points[pass].push([length, await timeOf(name, length, pass === 'both', setup)])
    }
    yield { phase: `measure ${name}`, step: i + 1, steps: lengths.length, seconds: 0 }
  }
  const perThousand = ([length, ms]: readonly [number, number]) => (ms * 1024) / length
  const [first, last] = [points.both[0]!, points.both.at(-1)!]
  const memory = attentionOf(planFor(plan, longest)).memory({ heads, headDim })
  const kept = Object.values(memory.reserve(memory.empty(1), last[0]))
  const line = (chart: string, own: readonly (readonly [number, number])[]): Line => ({
    chart,
    x: 'tokens',
    y: 'ms',
    points: own,
  })
  return {
    values: {
      forward: perThousand(points.forward.at(-1)!),
      both: perThousand(last),
      growth: perThousand(last) / perThousand(first),
      state: kept.reduce((bytes, { data }) => bytes + data.byteLength, 0) / 1000,
    },
    lines: [line('Forward', points.forward), line('Forward and backward', points.both)],
    ...(most < longest && { note: `up to ${most} tokens` }),
  }
}

/** The middle of several times, in milliseconds, after a first run that is not counted. */
async function timeOf(
  name: string,
  length: number,
  backward: boolean,
  { device, settings, clock }: Setup,
): Promise<number> {
  const { heads, headDim, rounds } = settings as Record<string, number>
  const attention = attentionOf(planFor(planNamed(name), length))
  const shape = [1, heads!, length, headDim!]
  const params = initialise(attention.params({ heads: heads!, headDim: headDim! }), random(1))
  const attend = ({ q, k, v, ...own }: Tensors) => attention.attend(own, { q: q!, k: k!, v: v! }, { causal: true })
  const compiled = compile(device, ({ dy, ...inputs }) => {
    const y = attend(inputs)
    if (!dy) return { y }
    const d = vjp([y], [dy], Object.values(inputs))
    return { y, ...Object.fromEntries(Object.keys(inputs).map((input, i) => [`d.${input}`, d[i]!])) }
  })
  const inputs = {
    ...{ q: normals(shape, 1), k: normals(shape, 2), v: normals(shape, 3) },
    ...params,
    ...(backward && { dy: normals(shape, 4) }),
  }
  const workspace = createWorkspace()
  const times: number[] = []
  try {
    for (let round = 0; round <= rounds!; round++) {
      const began = clock()
      await workspace.run('attention', compiled, inputs)
      if (round > 0) times.push(1000 * (clock() - began))
    }
  } finally {
    await compiled.dispose()
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!
}

function normals(shape: readonly number[], seed: number): FloatArray {
  const rng = random(seed)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()),
  )
}
