/** Sequences of one model that advance together: their states lie on top of each other, and a row is free or taken. */

import { ints } from '../base/array.ts'
import { copied, putRow, rowOf, shapeKey } from './rows.ts'
import type { Advanced, Generator, State } from './state.ts'

/** What sequences are stepped by: each row's logits and ln Σ exp of them go to the row's owner. */
export interface RowGroup<Owner> {
  /** Equal for states that can join. */
  key(): string
  owners(): Owner[]
  /** Takes a state of one sequence, which is used up. @throws RangeError when its shapes are others. */
  add(owner: Owner, state: State): void
  /** Takes a sequence out. */
  remove(owner: Owner): void
  /** A copy of a sequence's state. */
  stateOf(owner: Owner): State
  /** Reads one token of each sequence. */
  step(next: (owner: Owner) => number): Promise<Pick<Advanced, 'logits' | 'logSums'>>
  /** The row of the logits that belongs to a sequence. */
  rowOf(owner: Owner): number
}

/** Numbers of rows that graphs are compiled for: few, and at most a third of the rows is free when one has grown. */
const sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]

function sizeFor(count: number): number {
  return sizes.find((size) => size >= count) ?? count
}

/** A group that begins with one sequence, whose state is used up. */
export function createRowGroup<Owner>(generator: Generator, first: Owner, firstState: State): RowGroup<Owner> {
  let state = firstState
  let rows: (Owner | undefined)[] = [first]
  const owners = () => rows.filter((owner) => owner !== undefined)

  /** Rows for other sequences than now, these kept in their order. */
  const resize = (size: number, added: readonly State[] = []) => {
    const kept = rows.flatMap((owner, row) => (owner === undefined ? [] : [{ owner, state: viewOf(state, row) }]))
    const free = size - kept.length - added.length
    const spare = kept[0]?.state ?? added[0]!
    const states = [...kept.map((one) => one.state), ...added, ...Array.from({ length: free }, () => ({ ...spare }))]
    state = generator.join(states)
    rows = Array.from({ length: size }, (_, row) => kept[row]?.owner)
  }

  return {
    key: () => shapeKey(state.layers),
    owners,
    rowOf: (owner) => rows.indexOf(owner),
    add(owner, joining) {
      let row = rows.indexOf(undefined)
      if (owners().length === 0) {
        // The arrays of a first state may be those of its forks too, and are not written over.
        state = joining
        row = 0
        rows = []
      } else if (row < 0) {
        row = rows.length
        resize(sizeFor(row + 1), [joining])
      } else {
        const { positions, layers } = generator.join([joining])
        for (const [layer, kept] of state.layers.entries()) putRow(kept, row, layers[layer]!)
        state = { ...state, positions: state.positions.with(row, positions[0]!) }
      }
      rows[row] = owner
    },
    remove(owner) {
      rows = rows.map((other) => (other === owner ? undefined : other))
      const count = owners().length
      if (count > 0 && 2 * sizeFor(count) <= rows.length) resize(sizeFor(count))
    },
    stateOf(owner) {
      const { positions, layers } = viewOf(state, rows.indexOf(owner))
      return { positions, layers: layers.map(copied) }
    },
    async step(next) {
      // A free row reads a token at position 0 again and again, which nobody looks at.
      const positions = state.positions.map((position, row) => (rows[row] === undefined ? 0 : position))
      const ids = rows.map((owner) => (owner === undefined ? 0 : next(owner)))
      const advanced = await generator.advance({ ...state, positions }, ints([rows.length, 1], ids))
      state = advanced.state
      return advanced
    },
  }
}

function viewOf({ positions, layers }: State, row: number): State {
  return { positions: [positions[row]!], layers: layers.map((kept) => rowOf(kept, row)) }
}
