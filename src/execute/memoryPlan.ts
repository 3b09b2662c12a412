/** How a model that is read block by block fits into a given memory: a plan that is made, and told, before anything runs. */

import { formatBytes } from '../base/format.ts'
import type { ModelConfig } from '../models/model.ts'
import { headRows } from './rows.ts'
import { statesBesideStore } from './states.ts'

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
  /** Bytes of the largest block as it stays in memory, where it becomes float32 when it is computed with. Default: as float32. */
  readonly storedBytes?: number
  /** Blocks that are read in a pass. Default: all. */
  readonly blocks?: number
  /** Sequences and tokens of each that are run at once. */
  readonly batch: number
  readonly length: number
  /** Numbers that learn: each has a gradient and two moments. */
  readonly learned: number
  /** Numbers that stay of what learned before. Default 0. */
  readonly held?: number
  /** Bytes of what a block can keep for the way back, so that it is not computed again. Default 0: nothing. */
  readonly savedBytes?: number
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
  /** States between blocks that are kept for the way back: all of them, or those that are not on disk. */
  readonly boundaries: number
  /** States between blocks that are on disk until the way back, which is no memory: 0 where they fit beside two blocks. */
  readonly spilled: number
  /** What blocks keep for the way back, and how many of them do. */
  readonly saved: number
  readonly savedLayers: number
  /** What one block is computed in. */
  readonly working: number
  /** Blocks that are in memory: those that stay, and two that come and go. */
  readonly blocks: number
  readonly resident: number
  /** Blocks that are read in all. */
  readonly all: number
  readonly total: number
  readonly memory: number
}

/** Node, the engine and the code of sessions. */
const programBytes = 350e6
/** The engine takes its memory in growing pieces, of which the last may be half empty. */
const slack = 1.5
/** Of a block's weights the engine has copies in another order: 0.25 to 0.5 GB were seen beside blocks of 0.81 GB. */
const weightCopies = 0.65
/** Of a block that is kept in fewer bits: what becomes float32 goes as soon as it was used. With the copies 1.0 was seen. */
const castWeights = 0.6

/**
 * Plans runs that follow each other by the one that needs the most: what is left beside all that must be there holds what
 * blocks keep for the way back, since little memory saves much computing there, and then as many blocks as fit, so that
 * fewer are read again. States between blocks that do not fit beside two blocks are on disk.
 * @throws RangeError with the smallest memory that works, when this is less.
 */
export function planMemory(...runs: readonly PlannedRun[]): MemoryPlan {
  const [inMemory, onDisk] = [false, true].map((spills) => mostDemanding(runs, spills)) as [Demand, Demand]
  const { run, fixed, needed, least } = inMemory.least <= inMemory.run.memory ? inMemory : onDisk
  const { config, blocks = config.layers, memory } = run
  const blockBytes = keptBytes(run)
  if (memory < least) {
    throw new RangeError(
      `memory: got ${formatBytes(memory)}, want at least ${formatBytes(Math.ceil(least / 1e8) * 1e8)}, which hold two blocks ` +
        `of ${formatBytes(blockBytes)} beside ${formatBytes(needed)}; or fewer tokens at once`,
    )
  }
  const savedBytes = fixed.spilled > 0 ? 0 : Math.max(...runs.map((one) => one.savedBytes ?? 0))
  const savedLayers = savedBytes > 0 ? Math.min(config.layers, Math.floor((memory - least) / savedBytes)) : 0
  const saved = savedLayers * savedBytes
  const spare = Math.floor((memory - least - saved) / blockBytes)
  // Two that come and go are of no use where all others stay.
  const resident = blocks <= spare + 2 ? blocks : spare
  const held = (resident === blocks ? blocks : resident + 2) * blockBytes
  return { ...fixed, saved, savedLayers, blocks: held, resident, all: blocks, total: needed + saved + held, memory }
}

/** Bytes of a block that waits to be computed with. */
function keptBytes({ blockBytes, storedBytes = blockBytes }: PlannedRun): number {
  return storedBytes
}

/** What a run needs. */
interface Demand {
  readonly run: PlannedRun
  readonly fixed: ReturnType<typeof fixedBytes>
  /** Beside blocks, and with two of them. */
  readonly needed: number
  readonly least: number
}

/** The run that needs the most beside blocks: a plan of it holds for the others too. */
function mostDemanding(runs: readonly PlannedRun[], spills: boolean): Demand {
  const spilled = spills ? Math.max(...runs.map(spilledBytes)) : 0
  const demands = runs.map((run): Demand => {
    const fixed = { ...fixedBytes(run, spills), spilled }
    const needed = fixed.program + fixed.outer + fixed.learned + fixed.boundaries + fixed.working
    return { run, fixed, needed, least: needed + Math.min(2, run.blocks ?? run.config.layers) * keptBytes(run) }
  })
  return demands.reduce((most, demand) => (demand.needed > most.needed ? demand : most))
}

/** What must be there whatever blocks are. */
function fixedBytes(run: PlannedRun, spills: boolean) {
  const { outerBytes: outer, held = 0 } = run
  const spilled = spills && spilledBytes(run) > 0
  const copies = weightCopies + (keptBytes(run) < run.blockBytes ? castWeights : 0)
  return {
    program: programBytes,
    outer,
    learned: 16 * run.learned + 4 * held,
    boundaries: statesOf(run, spilled ? statesBesideStore : run.config.layers + 1),
    spilled: 0,
    working: slack * workingBytes(run) + copies * run.blockBytes,
  }
}

/** What a run has on disk where its states are there; nothing where so few are no more than what stays in memory. */
function spilledBytes(run: PlannedRun): number {
  return run.config.layers < statesBesideStore ? 0 : statesOf(run, run.config.layers)
}

/** Bytes of the states between blocks that are kept of a run. */
function statesOf({ config, batch, length, pass }: PlannedRun, count: number): number {
  return pass === 'finetune' ? 4 * count * batch * length * config.width : 0
}

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

/** How many blocks keep their values, as a part of a line. */
function savedText({ savedLayers }: MemoryPlan): string {
  return `values of ${savedLayers} ${savedLayers === 1 ? 'block' : 'blocks'} for the way back`
}

/** A plan in a line. */
export function planText(plan: MemoryPlan): string {
  const parts = [
    ['program', plan.program],
    ['outside of blocks', plan.outer],
    ['what learns', plan.learned],
    ['states between blocks', plan.boundaries],
    [savedText(plan), plan.saved],
    ['computing a block', plan.working],
  ] as const
  const listed = parts.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => `${name} ${formatBytes(bytes)}`)
  const disk = plan.spilled > 0 ? `; states between blocks on disk: ${formatBytes(plan.spilled)}` : ''
  return `memory: ${formatBytes(plan.total)} of ${formatBytes(plan.memory)}: ${listed.join(', ')}, blocks ${formatBytes(plan.blocks)} (${stayText(plan)})${disk}`
}

function stayText({ resident, all }: MemoryPlan): string {
  if (resident === all) return 'all stay'
  const stay = resident === 1 ? '1 block stays, ' : `${resident} blocks stay, `
  return `${resident > 0 ? stay : ''}the others are read as they are needed`
}
