import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatBytes, formatCount, formatMetric, formatSeconds } from '../../src/base/format.ts'
import type { Progress } from '../../src/base/progress.ts'
import { jsonProgress, liveProgress, plainProgress } from '../../src/cli/progress.ts'

function recorder(columns = 80) {
  const state = { time: 0, text: '' }
  const write = (text: string) => {
    state.text += text
  }
  return { state, target: { write, columns, now: () => state.time, memory: () => 1.23e9 } }
}

function record(step: number, steps: number, seconds = step): Progress {
  return { phase: 'finetune', step, steps, seconds, tokens: step * 4096, metrics: { loss: 3.25, learningRate: 3e-4 } }
}

/** What a terminal shows: the lines left behind, and the live line last. */
function screen(text: string): string[] {
  return text.split('\n').map((line) => line.slice(line.lastIndexOf('\x1b[K') + (line.includes('\x1b[K') ? 3 : 0)))
}

test('the live line tells the step, the metrics, the speed, the time left and the memory', () => {
  const { state, target } = recorder(120)
  const view = liveProgress(target)
  view.see(record(0, 100))
  state.time = 1
  view.see(record(25, 100))
  const line = screen(state.text).at(-1)!
  for (const part of [
    'finetune',
    '█',
    '25/100',
    'loss 3.250',
    'learning rate 3.0e-4',
    '4.1k tokens/s',
    '1m15s left',
    '1.2 GB',
  ]) {
    assert.ok(line.includes(part), `${part} in ${line}`)
  }
})

test('no live line is wider than the terminal', () => {
  const progress = fc.record({
    phase: fc.string({ minLength: 1, maxLength: 30 }),
    step: fc.nat(1e6),
    steps: fc.nat(1e6),
    seconds: fc.double({ min: 0, max: 1e7, noNaN: true }),
    tokens: fc.nat(),
    metrics: fc.dictionary(fc.constantFrom('loss', 'gradientNorm', 'validationLoss'), fc.double()),
  })
  fc.assert(
    fc.property(fc.array(progress), fc.integer({ min: 1, max: 130 }), (records, columns) => {
      const { state, target } = recorder(columns)
      const view = liveProgress(target)
      for (const one of records) {
        view.see(one)
        state.time++
      }
      view.end()
      for (const piece of state.text.replaceAll('\r\x1b[K', '\n').split('\n'))
        assert.ok(piece.length < Math.max(columns, 1), piece)
    }),
  )
})

test('the live line is rewritten at most ten times a second', () => {
  const { state, target } = recorder()
  const view = liveProgress(target)
  for (let i = 0; i < 1000; i++) {
    state.time = i / 1000
    view.see(record(i, 1001))
  }
  const drawn = state.text.split('\r').length - 1
  assert.ok(drawn >= 9 && drawn <= 11, `${drawn}`)
})

test('a finished phase leaves one line, an unfinished one leaves it at the end, and messages stay above', () => {
  const { state, target } = recorder()
  const view = liveProgress(target)
  view.see({ ...record(1, 2), message: 'checkpoint in out/checkpoint' })
  view.see(record(2, 2))
  view.see(record(2, 2))
  view.see({ phase: 'evaluate', step: 1, steps: 4, seconds: 9 })
  view.end()
  view.end()
  assert.deepEqual(screen(state.text), [
    'checkpoint in out/checkpoint',
    'finetune  2 steps in 2.0s  loss 3.250  4.1k tokens/s  learning rate 3.0e-4',
    'evaluate  1 of 4 steps in 9.0s',
    '',
  ])
})

test('the time left of a resumed phase comes from the steps that this run has done', () => {
  const { state, target } = recorder()
  const view = plainProgress(target)
  view.see(record(500, 1000, 1))
  state.time = 100
  view.see(record(600, 1000, 101))
  assert.match(state.text.split('\n')[1]!, /6m40s left/)
})

test('plain lines come every tenth but not within five seconds, every minute, and at the end', () => {
  const slow = recorder()
  const slowView = plainProgress(slow.target)
  for (let i = 0; i <= 1000; i++) {
    slow.state.time = i
    slowView.see(record(i, 1000))
  }
  const fast = recorder()
  const fastView = plainProgress(fast.target)
  for (let i = 0; i <= 1000; i++) {
    fast.state.time = i / 1000
    fastView.see(record(i, 1000, i / 1000))
  }
  assert.equal(slow.state.text.trimEnd().split('\n').length, 18)
  assert.equal(fast.state.text.trimEnd().split('\n').length, 2)
  assert.ok(!slow.state.text.includes('\x1b'))
})

test('each record becomes one line of JSON that reads back as itself', () => {
  const { state, target } = recorder()
  const records = [record(1, 2), { ...record(2, 2), message: 'two\nlines' }]
  const view = jsonProgress({ write: assert.fail }, target.write)
  for (const one of records) view.see(one)
  assert.deepEqual(
    state.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    records,
  )
})

const forms: readonly [string, string][] = [
  [formatSeconds(0.44), '0.4s'],
  [formatSeconds(59.6), '1m00s'],
  [formatSeconds(185), '3m05s'],
  [formatSeconds(7650), '2h07m'],
  [formatSeconds(273600), '3d04h'],
  [formatSeconds(Number.POSITIVE_INFINITY), '–'],
  [formatCount(950), '950'],
  [formatCount(1000), '1.0k'],
  [formatCount(0), '0'],
  [formatCount(32100), '32k'],
  [formatBytes(712e6), '712 MB'],
  [formatBytes(2.31e9), '2.3 GB'],
  [formatMetric(0.0003), '3.0e-4'],
  [formatMetric(28.456), '28.46'],
  [formatMetric(12), '12'],
  [formatMetric(Number.NaN), 'not a number'],
]

test('numbers have short forms', () => {
  for (const [got, want] of forms) assert.equal(got, want)
})
