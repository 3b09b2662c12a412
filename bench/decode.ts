/** Writing with a state of constant size: the time of a token at any context, beside softmax and beside reading the weights. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type FloatArray, floats, ints, type Params, sizeOf } from '../src/base/array.ts'
import { createGenerator, type Generator, type State, stateBytes } from '../src/generate/state.ts'
import { familyOf, paramSpecs } from '../src/models/families.ts'
import type { Model, ModelConfig, ModelSizes } from '../src/models/model.ts'
import type { ParamSpec } from '../src/nn/params.ts'
import { openDevice } from '../src/node/device.ts'
import { openMemoryReader } from './bandwidth.ts'
import { type CaseSource, inProcesses, interleaved, median, medianRatio, seconds } from './measure.ts'
import type { PeerOptions } from './peerDecode.ts'
import type { Bench, BenchRun, Row } from './row.ts'

/** A shape that is measured, and what the peer's script calls it. */
interface Shape {
  readonly family: 'gpt2' | 'llama'
  readonly sizes: Omit<ModelSizes, 'maxLength'>
  readonly peer: string
  /** The peer's forms of attention. */
  readonly forms: readonly ('plain' | 'gqa')[]
}

const attention = { kind: 'linear', map: 'hedgehog-softmax' } as const

const shapes: Readonly<Record<string, Shape>> = {
  'GPT-2 small': {
    family: 'gpt2',
    sizes: { layers: 12, heads: 12, width: 768, vocab: 50257, attention },
    peer: 'gpt2',
    forms: ['plain'],
  },
  SmolLM2: {
    family: 'llama',
    sizes: { layers: 30, heads: 9, keyHeads: 3, width: 576, inner: 1536, vocab: 49152, attention },
    peer: 'smollm2',
    forms: ['plain', 'gqa'],
  },
  'GPT-2, tiny': {
    family: 'gpt2',
    sizes: { layers: 2, heads: 2, width: 32, vocab: 997, attention },
    peer: 'tiny-gpt2',
    forms: ['plain'],
  },
  'Llama, tiny': {
    family: 'llama',
    sizes: { layers: 2, heads: 3, keyHeads: 1, width: 48, inner: 64, vocab: 997, attention },
    peer: 'tiny-llama',
    forms: ['plain', 'gqa'],
  },
}

const together = 8
/** In so many steps all that waits beside a state is taken into it once. */
const stepsOfWriting = 16
const flat = 0.95
const overReading = 1.4

export const decodeBench = benchOf('GPT-2 small', 'GPT-2, tiny')
export const decodeLlamaBench = benchOf('SmolLM2', 'Llama, tiny')

function benchOf(name: string, quickName: string): Bench {
  return {
    summary: `${name}'s shape writing and reading at contexts of 1k to 128k tokens, beside transformers.js and memory's speed`,
    target:
      'tokens/s flat within 5 % from 1k to 128k; at 1k at least those of softmax in transformers.js, at 32k 10 times; a token in ' +
      `${overReading} times what reading the weights takes; ${together} texts at 4 times the rate of one; reading flat within 15 %`,
    run: (how) => {
      const shown = how.quick ? quickName : name
      return measured(shown, shapes[shown]!, how)
    },
  }
}

async function measured(name: string, shape: Shape, { quick, note }: BenchRun): Promise<Row[]> {
  const contexts = quick ? [64, 128, 512, 1024] : [1024, 8192, 32768, 131072]
  const [first, , deep] = contexts as [number, number, number]
  const [tokens, steps] = quick ? [2, 2] : [5, stepsOfWriting]
  const model = modelOf(shape, contexts.at(-1)! + 4096)
  const generator = createGenerator(await openDevice(), model, { wholeAfter: 0 })
  const read = await openMemoryReader(weightBytes(model))
  try {
    const start = await generator.advance(generator.start(), randomIds(1, quick ? 32 : 256, model.config.vocab))
    const at = (context: number) => generator.restore(context, generator.fork(start.state).layers)
    const several = generator.join(Array.from({ length: together }, () => at(first)))
    const writes = contexts.map((context) => writer(generator, at(context), steps))
    const beside = [settle, ...[first, deep].map((context) => writes[contexts.indexOf(context)]!)]
    const peers = await peersOf(shape, [first, deep], { quick, note })
    const told = (line: string) => note(`${name}: ${line}`)
    const { cases, others } = await inProcesses(peers, quick ? 2 : 5, told, peers.length > 0 ? beside : [])
    const reads = () => middle(read.read, tokens)
    const forks = at(deep)
    const fork = () => seconds(() => generator.advance(generator.fork(forks), ints([1, 1], [7])))
    const ours = [...writes, reads, writer(generator, several, steps), () => middle(fork, tokens)]
    const own = await interleaved(ours, quick ? 2 : 9)
    const written = own.slice(0, contexts.length)
    const [reading, rowsOfSeveral, forking] = own.slice(contexts.length) as [number[], number[], number[]]
    const target = (value: number) => (quick ? {} : { target: value })
    const label = (context: number) => `${name}, token at ${sizeText(context)}`
    const rows: Row[] = []
    for (const [i, peer] of peers.entries()) {
      const { context, folder } = peer.options as PeerOptions
      const ownTimes = others[context === first ? 1 : 2]!
      const { values } = cases[i]!
      const title = `softmax${folder.endsWith('gqa') ? ' GQA' : ''} ${ms(median(values))} ms`
      const wanted = target(context === first ? 1 : 10)
      rows.push({
        case: label(context),
        ...inMs(ownTimes),
        peer: title,
        ratio: medianRatio(values, ownTimes),
        ...wanted,
      })
    }
    for (const [i, context] of contexts.entries()) {
      if (i === 0) continue
      const ratio = medianRatio(written[0]!, written[i]!)
      rows.push({ case: label(context), ...inMs(written[i]!), peer: `at ${sizeText(first)}`, ratio, ...target(flat) })
    }
    const rate = `${(read.bytes / 1e9 / median(reading)).toFixed(1)} GB/s`
    note(`${name}: ${Math.round(read.bytes / 1e6)} MB of weights are read in ${ms(median(reading))} ms`)
    rows.push({
      case: label(first),
      ...inMs(written[0]!),
      peer: rate,
      ratio: medianRatio(reading, written[0]!),
      ...target(1 / overReading),
    })
    rows.push({
      case: `${name}, ${together} at once`,
      ...inMs(rowsOfSeveral),
      peer: 'one by one',
      ratio: together * medianRatio(written[0]!, rowsOfSeveral),
      ...target(4),
    })
    rows.push({ case: `${name}, first of fork`, ...inMs(forking), ...target(50) })
    rows.push({ case: `${name}, state`, value: stateBytes(start.state) / 1e6, unit: 'MB' })
    rows.push(...(await readingRows(name, generator, at, contexts, quick)))
    return rows
  } finally {
    await read.close()
    await generator.dispose()
  }
}

/** Reading tokens after so many others: what the last part of a prompt of that length costs. */
async function readingRows(
  name: string,
  generator: Generator,
  at: (context: number) => State,
  contexts: readonly number[],
  quick: boolean,
): Promise<Row[]> {
  const length = quick ? 32 : 512
  const ids = randomIds(1, length, generator.config.vocab)
  const starts = [0, ...contexts.slice(1).map((context) => context - length)]
  const times = starts.map((): number[] => [])
  for (let round = 0; round < 3; round++) {
    for (const [i, start] of starts.entries()) {
      const taken = await seconds(() => generator.advance(at(start), ids, { logits: 'none' }))
      if (round > 0) times[i]!.push(taken)
    }
  }
  return starts.map((start, i) => ({
    case: `${name}, reading at ${sizeText(start)}`,
    value: length / median(times[i]!),
    unit: 'tokens/s',
    ...(i > 0 && {
      peer: 'at 0',
      ratio: medianRatio(times[0]!, times[i]!),
      ...(!quick && { target: 0.85 }),
    }),
  }))
}

/** Seconds of a token of all texts of a state together: the mean of several steps, after one that finds the caches cold. */
function writer(generator: Generator, from: State, steps: number): () => Promise<number> {
  let state = from
  const ids = ints([from.positions.length, 1], Array(from.positions.length).fill(7))
  const write = async (count: number) => {
    for (let i = 0; i < count; i++) state = (await generator.advance(state, ids)).state
  }
  return async () => {
    await write(1)
    return (await seconds(() => write(steps))) / steps
  }
}

/** Lets the peers' threads stop spinning and their memory be given back. */
async function settle(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 500))
  return 0
}

async function middle(measure: () => Promise<number>, times: number): Promise<number> {
  await measure()
  const taken: number[] = []
  for (let i = 0; i < times; i++) taken.push(await measure())
  return median(taken)
}

/** The peer's processes, where a Python with onnx is named that writes its models. */
async function peersOf({ peer, forms }: Shape, contexts: readonly number[], { note }: BenchRun): Promise<CaseSource[]> {
  const python = process.env.HEDGEHOG_PYTHON
  const module = new URL('peerDecode.ts', import.meta.url).href
  const sources: CaseSource[] = []
  for (const form of forms) {
    const folder = fileURLToPath(new URL(`../.cache/peers/${peer}-${form}`, import.meta.url))
    if (!existsSync(`${folder}/config.json`)) {
      if (!python) {
        note('transformers.js is left out: HEDGEHOG_PYTHON names no Python with onnx to write its model with')
        return []
      }
      const script = fileURLToPath(new URL('../scripts/peers/decoder_with_past.py', import.meta.url))
      await promisify(execFile)(python, [script, '--shape', peer, '--form', form, '--out', folder])
    }
    const options = contexts.map((context): PeerOptions => ({ folder, context }))
    sources.push(...options.map((one) => ({ module, name: 'transformers', options: one })))
  }
  return sources
}

/** A model with random weights; positions that are looked up stay zero, so that they take no memory. */
function modelOf({ family, sizes }: Shape, maxLength: number): Model {
  const config = familyOf({ family }).configOf({ ...sizes, maxLength })
  const positions = familyOf(config).lookups.filter(({ by }) => by === 'positions')
  const params = Object.entries(paramSpecs(config)).map(([path, spec]) => {
    const isLookup = positions.some(({ table }) => table === path)
    return [path, isLookup ? floats(spec.shape) : drawn(spec)] as const
  })
  return { config, params: Object.fromEntries(params) }
}

function drawn({ shape, initial }: ParamSpec): FloatArray {
  const array = floats(shape)
  const { data } = array
  if (initial === 'ones') data.fill(1)
  if (initial === 'identity') {
    const [rows, columns] = [shape.at(-2)!, shape.at(-1)!]
    for (let i = 0; i < data.length; i++) data[i] = Math.floor(i / columns) % rows === i % columns ? 1 : 0
  }
  if (typeof initial === 'string' || !('normal' in initial)) return array
  let seed = sizeOf(shape)
  for (let i = 0; i < data.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0
    data[i] = (seed / 2 ** 31) * Math.sqrt(3) * initial.normal
  }
  return array
}

/** Bytes of all parameters that a token needs whole: of tables that are only looked up it needs a row. */
function weightBytes({ config, params }: { config: ModelConfig; params: Params }): number {
  const { lookups, unembedding } = familyOf(config)
  const whole = Object.entries(params).filter(
    ([path]) => path === unembedding(config).weight || !lookups.some(({ table }) => table === path),
  )
  return whole.reduce((sum, [, { data }]) => sum + data.byteLength, 0)
}

function randomIds(batch: number, length: number, vocab: number) {
  return ints(
    [batch, length],
    Array.from({ length: batch * length }, (_, i) => (i * 7919) % vocab),
  )
}

const sizeText = (tokens: number) => (tokens < 1024 ? `${tokens}` : `${Math.round(tokens / 1024)}k`)

const ms = (time: number) => (1000 * time).toFixed(1)

function inMs(times: readonly number[]) {
  return { value: 1000 * median(times), unit: 'ms' }
}
