import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { mostDemanding, type PlannedRun, planMemory } from '../../src/execute/memoryPlan.ts'
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

  it('of several runs is that of the one which needs the most, whose least memory is enough for all', () => {
    const runs = [run, { ...run, length: 256, pass: 'finetune' as const }, { ...run, learned: 1.1e6 }]
    const most = mostDemanding(runs)
    assert.equal(most, runs[1])
    const message = (() => {
      try {
        planMemory({ ...most, memory: 1 })
      } catch (error) {
        return (error as Error).message
      }
      return ''
    })()
    const [, least] = /want at least (\d+) MB/.exec(message) ?? []
    for (const one of runs) assert.doesNotThrow(() => planMemory({ ...one, memory: Number(least) * 1e6 }))
  })
})
