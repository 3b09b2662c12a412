import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { median, medianRatio } from '../../bench/measure.ts'
import { reaches } from '../../bench/row.ts'
import { tableText } from '../../bench/table.ts'

function bench(...args: string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...args], { encoding: 'utf8' })
}

describe('npm run bench', () => {
  it('lists the benches with a line each', () => {
    const { status, stdout } = bench()
    assert.equal(status, 0)
    for (const line of stdout.trim().split('\n')) assert.match(line, /^[a-z-]+ {2,}\S.{10,}$/)
  })

  it('refuses an unknown name in one line with the known ones, exit code 2', () => {
    const { status, stdout, stderr } = bench('train-stp')
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^bench: got train-stp, want one of train-step, .*startup, start\n$/)
  })

  it('refuses a part that a bench does not have, naming those that it has', () => {
    const { status, stderr } = bench('maps', '--part', 'fwd 2k')
    assert.equal(status, 2)
    assert.match(stderr, /^bench: maps: got part fwd 2k, want fwd 1k or fwd\+bwd 1k or .* or token\n$/)
    assert.match(bench('adamw', '--part', 'x').stderr, /want none, it is measured as a whole\n$/)
  })
})

describe('a measurement', () => {
  it('is the median of its rounds, and its ratio that of quotients of the same round', () => {
    assert.equal(median([5, 1, 3]), 3)
    assert.equal(median([5, 1]), 3)
    assert.throws(() => median([]), RangeError)
    assert.equal(medianRatio([2, 40, 6], [1, 10, 2]), 3)
  })

  it('reaches its target with a ratio from below, without one from above', () => {
    const row = { case: 'step', value: 3, unit: 's' }
    assert.equal(reaches(row), undefined)
    assert.equal(reaches({ ...row, target: 3 }), true)
    assert.equal(reaches({ ...row, target: 2 }), false)
    assert.equal(reaches({ ...row, peer: 'loop', ratio: 0.8, target: 0.75 }), true)
    assert.equal(reaches({ ...row, peer: 'loop', ratio: 0.7, target: 0.75 }), false)
  })

  it('is printed in at most 80 columns', () => {
    const row = { case: 'a step with a name of more than forty characters', value: 1234.5, unit: 'ns/param' }
    const text = tableText([row, { ...row, peer: 'a peer with a long name', ratio: 123.456, target: 1.25 }])
    for (const line of text.split('\n')) assert.ok(line.length <= 80, line)
  })
})
