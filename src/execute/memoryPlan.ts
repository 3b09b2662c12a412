/** How a model that is read block by block fits into a given memory: a plan that is made, and told, before anything runs. */

import { formatBytes } from '../base/format.ts'
import type { ModelConfig } from '../models/model.ts'
import { headRows } from './rows.ts'

/** How often a pass holds a block's states, the weights of its attention, and the logits of some rows. */
const passes = {
  /** Teacher and student side by side, with the logarithms and gradients of their weights; no logits. */
  distill: { states: 1, weights: 10, logits: 0 },
  /** The losses of tokens. */
  score: { states: 1, weights: 2, logits: 2 },
  /** Their gradients, back through all blocks. */
  finetune: { states: 2.5, weights: 2, logits: 3 },
} as const

/** A pass by its name. */
export type PassName = keyof typeof passes

/** What is to be run. */
export interface PlannedRun {
  readonly config: ModelConfig
  /** Bytes as float32 of the parameters outside of blocks, and of the largest block. */
  readonly outerBytes: number
  readonly blockBytes: number
  /** Blocks that are read in a pass. Default: all. */
  readonly blocks?: number
  /** Sequences and tokens of each that are run at once. */
  readonly batch: number
  readonly length: number
  /** Numbers that learn: each has a gradient and two moments. */
  readonly learned: number
  /** Numbers that stay of what learned before. Default 0. */
  readonly held?: number
  readonly pass: PassName
  /** Bytes that may be used in all. */
  readonly memory: number
}

/** Where the memory goes, in bytes. */
export interface MemoryPlan {
  /** The program and the engine. */
  readonly program: number
  readonly outer: number
  /** What learns, with gradients and moments. */
  readonly learned: number
  /** States between blocks that are kept for the way back. */
  readonly boundaries: number
  /** What one block is computed in. */
  readonly working: number
  /** Blocks that are in memory: those that stay, and two that come and go. */
  readonly blocks: number
  readonly resident: number
  readonly total: number
  readonly memory: number
}

/** Node, the engine and the code of sessions. */
const programBytes = 350e6
/** The engine takes its memory in growing pieces, of which the last may be half empty. */
const slack = 1.5

/**
 * Plans a run: what is left beside all that must be there holds as many blocks as fit, so that fewer are read again.
 * @throws RangeError with the smallest memory that works, when this is less.
 */
export function planMemory(run: PlannedRun): MemoryPlan {
  const { config, blockBytes, blocks = config.layers, memory } = run
  const fixed = fixedBytes(run)
  const needed = total(fixed)
  const passing = Math.min(2, blocks) * blockBytes
  const least = needed + passing
  if (memory < least) {
    throw new RangeError(
      `memory: got ${formatBytes(memory)}, want at least ${formatBytes(Math.ceil(least / 1e8) * 1e8)}, which hold two blocks ` +
        `of ${formatBytes(blockBytes)} beside ${formatBytes(needed)}; or fewer tokens at once`,
    )
  }
  const spare = Math.floor((memory - least) / blockBytes)
  // Two that come and go are of no use where all others stay.
  const resident = blocks <= spare + 2 ? blocks : spare
  const held = (resident === blocks ? blocks : resident + 2) * blockBytes
  return { ...fixed, blocks: held, resident, total: needed + held, memory }
}

/** The run that needs the most beside blocks: a plan of it holds for the others too. */
export function mostDemanding(runs: readonly PlannedRun[]): PlannedRun {
  return runs.reduce((most, run) => (total(fixedBytes(run)) > total(fixedBytes(most)) ? run : most))
}

/** What must be there whatever blocks are. */
function fixedBytes(run: PlannedRun) {
  const { config, outerBytes: outer, held = 0, batch, length, pass } = run
  return {
    program: programBytes,
    outer,
    learned: 16 * run.learned + 4 * held,
    boundaries: pass === 'finetune' ? 4 * (config.layers + 1) * batch * length * config.width : 0,
    working: slack * workingBytes(run),
  }
}

const total = (parts: Readonly<Record<string, number>>): number =>
  Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)

/** What the computation of a block, or of the losses after the last, holds besides weights. */
function workingBytes({ config, batch, length, pass }: PlannedRun): number {
  const { heads, width, inner, vocab } = config
  const rows = batch * length
  const copies = passes[pass]
  const states = copies.states * rows * (10 * width + 3 * inner)
  const weights = copies.weights * batch * heads * length * length
  const logits = copies.logits * Math.min(headRows, rows) * vocab
  return 4 * (states + Math.max(weights, logits))
}

/** A plan in a line. */
export function planText(plan: MemoryPlan): string {
  const parts = [
    ['program', plan.program],
    ['outside of blocks', plan.outer],
    ['what learns', plan.learned],
    ['states between blocks', plan.boundaries],
    ['computing a block', plan.working],
  ] as const
  const listed = parts.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => `${name} ${formatBytes(bytes)}`)
  const stay = plan.resident > 0 ? `${plan.resident} blocks stay, ` : ''
  return `memory: ${formatBytes(plan.total)} of ${formatBytes(plan.memory)}: ${listed.join(', ')}, blocks ${formatBytes(plan.blocks)} (${stay}the others are read as they are needed)`
}
