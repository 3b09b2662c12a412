import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type PlannedRun, planMemory, planText } from '../../src/execute/memoryPlan.ts'
import { llama } from '../../src/models/llama.ts'

const config = llama.configOf({ layers: 8, heads: 4, width: 64, vocab: 1000, maxLength: 256 })
const run: PlannedRun = {
  ...{ config, outerBytes: 1e8, blockBytes: 1e8, batch: 1, length: 64, learned: 1e6, pass: 'distill', memory: 1e9 },
}

describe('a plan of memory', () => {
  it('keeps as many blocks as fit beside all else, and counts what stays of what learned before', () => {
    const plan = planMemory(run)
    assert.ok(plan.total <= run.memory && plan.total > run.memory - run.blockBytes)
    const held = planMemory({ ...run, held: 5e7 })
    assert.equal(held.learned - plan.learned, 2e8)
    assert.equal(plan.resident - held.resident, 2)
  })

  it('keeps what blocks have for the way back before it keeps blocks, of as many as fit', () => {
    const learns: PlannedRun = { ...run, pass: 'finetune', savedBytes: 3e6 }
    const plan = planMemory({ ...learns, memory: 1e12 })
    assert.deepEqual([plan.savedLayers, plan.saved, plan.resident], [8, 24e6, 8])
    assert.match(planText(plan), /, values of 8 blocks for the way back 24 MB, .*, blocks 800 MB \(all stay\)$/)
    const least = leastOf(learns)
    const few = planMemory({ ...learns, memory: least + 4e6 })
    assert.ok(few.savedLayers > 0 && few.total <= least + 4e6 && few.resident === 0)
    assert.equal(planMemory({ ...run, memory: 1e12 }).saved, 0)
  })

  it('keeps twice as many blocks of half the bytes, beside the weights that one of them is computed with', () => {
    const tight = { ...run, memory: 9e8 }
    const [plan, half] = [planMemory(tight), planMemory({ ...tight, storedBytes: 5e7 })]
    assert.ok(Math.abs(half.working - plan.working - 0.6 * run.blockBytes) < 1)
    assert.ok(half.resident > plan.resident && half.total <= tight.memory)
    assert.equal(half.blocks, (half.resident + 2) * 5e7)
  })

  it('of several runs is that of the one which needs the most, whose least memory is enough for all', () => {
    const runs = [run, { ...run, length: 256, pass: 'finetune' as const }, { ...run, learned: 1.1e6 }] as const
    const least = leastOf(...runs)
    assert.ok(least >= Math.max(...runs.map((one) => leastOf(one))))
    for (const one of runs) assert.doesNotThrow(() => planMemory({ ...one, memory: least }))
    assert.ok(planMemory(...runs).total >= planMemory(runs[1]).total)
  })

  describe('of a finetuning', () => {
    const long: PlannedRun = { ...run, batch: 8, length: 256, pass: 'finetune', memory: 1e12 }
    const states = 4 * 8 * 256 * 64
    const whole = planMemory(long)
    const tight = whole.total - whole.blocks + 2 * long.blockBytes

    it('keeps the states between blocks in memory as long as they fit beside two blocks, and then has them on disk', () => {
      assert.deepEqual([whole.boundaries, whole.spilled], [9 * states, 0])
      const fits = planMemory({ ...long, memory: tight })
      assert.deepEqual([fits.boundaries, fits.spilled, fits.resident], [9 * states, 0, 0])
      assert.doesNotMatch(planText(fits), /disk/)
      const spills = planMemory({ ...long, memory: tight - 1, savedBytes: 1 })
      assert.equal(spills.savedLayers, 0)
      assert.deepEqual([spills.boundaries, spills.spilled], [6 * states, 8 * states])
      assert.equal(spills.total, tight - 3 * states)
      assert.match(planText(spills), /; states between blocks on disk: 4\.2 MB$/)
    })

    it('needs less than it would with all of them, down to those that are computed with', () => {
      assert.doesNotThrow(() => planMemory({ ...long, memory: tight - 3 * states }))
      const shown = /got .*, want at least .*, which hold two blocks/
      assert.throws(() => planMemory({ ...long, memory: tight - 3 * states - 1 }), shown)
    })

    it('of few layers has nothing on disk, since it would save nothing', () => {
      const few = { ...long, config: llama.configOf({ layers: 5, heads: 4, width: 64, vocab: 1000, maxLength: 256 }) }
      const { total, blocks } = planMemory(few)
      assert.throws(() => planMemory({ ...few, memory: total - blocks + 2 * few.blockBytes - 1 }), /want at least/)
    })

    it('with states on disk holds for what else is run, such as a distillation that then needs the most', () => {
      const small: PlannedRun = { ...long, length: 16, pass: 'distill', learned: 0, memory: tight - 1 }
      const base = planMemory({ ...small, memory: 1e12 })
      const learned = Math.floor((tight - states - (base.total - base.blocks + 2 * long.blockBytes)) / 16)
      const distill = { ...small, learned }
      const both = planMemory({ ...long, memory: tight - 1 }, distill)
      assert.equal(both.spilled, 8 * states)
      assert.equal(both.total, planMemory(distill).total)
    })
  })
})

/** The least memory of some runs that is told. */
function leastOf(...runs: readonly PlannedRun[]): number {
  const tight = runs.map((one) => ({ ...one, memory: 1 }))
  let told = ''
  assert.throws(
    () => planMemory(...tight),
    ({ message }: Error) => {
      told = message
      return true
    },
  )
  return Number(/want at least (\d+) MB/.exec(told)![1]) * 1e6
}
