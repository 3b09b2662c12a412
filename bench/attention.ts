/** Attention alone, from 1k to 64k tokens: the time and peak memory of Hedgehog's, and of softmax where memory allows. */

import { attendBy, planFor, planNamed, planParams } from '../src/attention/plan.ts'
import { type FloatArray, floats, sizeOf } from '../src/base/array.ts'
import { formatCount } from '../src/base/format.ts'
import { random } from '../src/base/random.ts'
import { createWorkspace } from '../src/execute/workspace.ts'
import { vjp } from '../src/graph/gradient.ts'
import type { Tensor } from '../src/graph/tensor.ts'
import type { Tensors } from '../src/graph/trace.ts'
import { initialise } from '../src/nn/params.ts'
import { openDevice } from '../src/node/device.ts'
import { compile } from '../src/runtime/compile.ts'
import { type Cases, inProcesses, type Measured, median, medianRatio, processorSeconds, seconds } from './measure.ts'
import type { Bench, Row } from './row.ts'

const module = import.meta.url
const heads = 12
const headDim = 64
const growthTarget = 80

/** One attention on one text: forward alone, or with the gradients of all inputs. */
export interface Options {
  /** Its name, as {@link planNamed} reads it. */
  readonly plan: string
  readonly length: number
  readonly backward: boolean
  /** On one thread, by processor time. */
  readonly oneThread?: boolean
}

export const cases = {
  async attention({ plan: name, length, backward, oneThread = false }: Options) {
    const plan = planFor(planNamed(name), length)
    const rng = random(1)
    const shape = [1, heads, length, headDim]
    const qkv = { q: normals(shape, 1), k: normals(shape, 2), v: normals(shape, 3) }
    const params = initialise(planParams(plan, { heads, headDim }), rng)
    const attend = ({ q, k, v, ...maps }: Tensors) => attendBy(plan, maps, { causal: true })({ q: q!, k: k!, v: v! })
    const withGradients = ({ dy, ...inputs }: Tensors) => {
      const y = attend(inputs)
      const names = Object.keys(inputs)
      const d = vjp([y], [dy!], Object.values(inputs))
      return { y, ...Object.fromEntries(names.map((input, i): [string, Tensor] => [`d.${input}`, d[i]!])) }
    }
    const compiled = compile(
      await openDevice('cpu', oneThread ? { threads: 1 } : {}),
      backward ? withGradients : (inputs) => ({ y: attend(inputs) }),
    )
    const inputs = { ...qkv, ...params, ...(backward && { dy: normals(shape, 4) }) }
    const workspace = createWorkspace()
    const measure = oneThread ? processorSeconds : seconds
    return () => measure(() => workspace.run('attention', compiled, inputs))
  },
} satisfies Cases

export const attentionBench: Bench = {
  summary: 'attention alone, 12 heads of 64, from 1k to 64k tokens: Hedgehog beside softmax',
  target: `64k tokens cost Hedgehog at most ${growthTarget} times what 1k tokens do`,
  async run({ quick, note }) {
    const lengths = quick ? [128, 256] : [1024, 4096, 16384, 65536]
    // Softmax has a matrix of length² per head: at 16k tokens 13 GB for each of several.
    const softmaxLengths = quick ? lengths : lengths.slice(0, 2)
    note(`softmax is measured up to ${formatLength(softmaxLengths.at(-1)!)} tokens: its memory grows with the square`)
    const rows: Row[] = []
    for (const backward of [false, true]) {
      const all = [
        ...lengths.map((length): Options => ({ plan: 'hedgehog-exp', length, backward })),
        ...softmaxLengths.map((length): Options => ({ plan: 'softmax', length, backward })),
      ]
      note(backward ? 'forward and backward' : 'forward')
      const sources = all.map((options) => ({ module, name: 'attention', options }))
      const found = await inProcesses(sources, quick ? 1 : 5, note)
      rows.push(
        ...rowsOf(
          found.cases.map((one, i) => ({ ...one, ...all[i]! })),
          quick,
        ),
      )
    }
    return rows
  },
}

type Found = Options & Measured

function rowsOf(found: readonly Found[], quick: boolean): Row[] {
  const ofPlan = (plan: Options['plan']) => found.filter((one) => one.plan === plan)
  const linear = ofPlan('hedgehog-exp')
  const [shortest, longest] = [linear[0]!, linear.at(-1)!]
  const pass = shortest.backward ? 'fwd+bwd' : 'fwd'
  const measured = found.flatMap((one): Row[] => {
    const title = `${one.plan === 'softmax' ? 'softmax' : 'hedgehog'} ${pass} ${formatLength(one.length)}`
    const peer = one.plan === 'softmax' ? undefined : ofPlan('softmax').find(({ length }) => length === one.length)
    return [
      {
        case: title,
        value: median(one.values) * 1000,
        unit: 'ms',
        ...(peer && { peer: 'softmax', ratio: medianRatio(peer.values, one.values) }),
      },
      {
        case: `${title} peak`,
        value: one.peak / 1e9,
        unit: 'GB',
        ...(peer && { peer: 'softmax', ratio: peer.peak / one.peak }),
      },
    ]
  })
  const growth = {
    case: `hedgehog ${pass} ${formatLength(longest.length)} / ${formatLength(shortest.length)}`,
    value: medianRatio(longest.values, shortest.values),
    unit: 'times',
    ...(!quick && { target: growthTarget }),
  }
  return [...measured, growth]
}

function formatLength(length: number): string {
  return length >= 1024 ? `${length / 1024}k` : formatCount(length)
}

/** Standard normal values, the same for a seed. */
function normals(shape: readonly number[], seed: number): FloatArray {
  const rng = random(seed)
  return floats(
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => rng.normal()),
  )
}
