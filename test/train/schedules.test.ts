import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type ScheduleName, type ScheduleState, scheduleStart, schedules } from '../../src/train/schedules.ts'

const names = Object.keys(schedules) as ScheduleName[]
const settings = fc.integer({ min: 1, max: 60 }).chain((steps) =>
  fc.record({
    steps: fc.constant(steps),
    warmup: fc.integer({ min: 0, max: steps }),
    finalRatio: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
)

for (const name of names) {
  const { ratio } = schedules[name]
  describe(`schedule ${name}`, () => {
    it('stays in [0, 1], rises strictly in warm-up to the peak, and never rises after it', () => {
      fc.assert(
        fc.property(settings, ({ steps, ...options }) => {
          const ratios = Array.from({ length: steps + 3 }, (_, step) => ratio(step, steps, options))
          ratios.forEach((value, step) => {
            assert.ok(value >= 0 && value <= 1, `${value}`)
            if (step === 0) assert.ok(value > 0)
            else if (step < options.warmup) assert.ok(value > ratios[step - 1]!)
            else if (step > options.warmup) assert.ok(value <= ratios[step - 1]! + 1e-12)
          })
          if (options.warmup < steps) assert.equal(ratios[options.warmup], 1)
        }),
      )
    })

    it('is continuous: no step moves by more than its share of the way', () => {
      fc.assert(
        fc.property(settings, ({ steps, ...options }) => {
          for (let step = 1; step < steps; step++) {
            const moved = Math.abs(ratio(step, steps, options) - ratio(step - 1, steps, options))
            const ways = step <= options.warmup ? options.warmup + 1 : steps - options.warmup
            assert.ok(moved <= Math.PI / 2 / ways + 1e-12, `${moved} at ${step}`)
          }
        }),
      )
    })

    it('refuses options out of range', () => {
      assert.throws(() => ratio(0, 0), /got steps 0/)
      assert.throws(() => ratio(-1, 5), /got step -1/)
      assert.throws(() => ratio(0, 5, { warmup: 6 }), /got warmup 6, want a whole number from 0 to 5/)
      assert.throws(() => ratio(0, 5, { warmup: 0.5 }), RangeError)
      assert.throws(() => ratio(0, 5, { finalRatio: 1.1 }), RangeError)
    })
  })
}

describe('schedules', () => {
  it('linear and cosine end at finalRatio and stay there', () => {
    for (const name of ['linear', 'cosine'] as const) {
      for (const step of [10, 11, 100])
        assert.ok(Math.abs(schedules[name].ratio(step, 10, { finalRatio: 0.2 }) - 0.2) < 1e-15)
    }
  })

  it('linear and cosine are half way in the middle, and cosine is slower near both ends', () => {
    for (const name of ['linear', 'cosine'] as const) {
      assert.ok(Math.abs(schedules[name].ratio(7, 10, { warmup: 4, finalRatio: 0.5 }) - 0.75) < 1e-15)
    }
    assert.ok(schedules.cosine.ratio(1, 10) > schedules.linear.ratio(1, 10))
    assert.ok(schedules.cosine.ratio(9, 10) < schedules.linear.ratio(9, 10))
  })

  it('but for plateau do not react to validation losses', () => {
    for (const name of names.filter((other) => other !== 'plateau')) {
      assert.equal(schedules[name].observe(scheduleStart, 3), scheduleStart)
    }
  })
})

describe('plateau', () => {
  const { ratio, observe } = schedules.plateau
  const after = (losses: readonly number[], options = {}): ScheduleState =>
    losses.reduce((state, loss) => observe(state, loss, options), scheduleStart)

  it('falls by its factor after more than patience validations without improvement', () => {
    const options = { factor: 0.5, patience: 2 }
    assert.equal(after([4, 4, 4], options).ratio, 1)
    assert.equal(after([4, 4, 4, 4], options).ratio, 0.5)
    assert.equal(after([4, 4, 4, 4, 4, 4], options).ratio, 0.5)
    assert.equal(after([4, 4, 4, 4, 4, 4, 4], options).ratio, 0.25)
    assert.equal(after([4, 4, 4, 3, 4, 4], options).ratio, 1)
    assert.equal(after([4, 5], { factor: 0.5, patience: 0 }).ratio, 0.5)
  })

  it('takes gains below the threshold for none', () => {
    const options = { patience: 0, threshold: 0.01, factor: 0.5 }
    assert.equal(after([4, 3.97], options).ratio, 0.5)
    assert.equal(after([4, 3.95], options).ratio, 1)
  })

  it('never falls below the minimum and never rises', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 9, noNaN: true })),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (losses, minimum) => {
          let state: ScheduleState = scheduleStart
          for (const loss of losses) {
            const next = observe(state, loss, { factor: 0.3, patience: 1, minimum })
            assert.ok(next.ratio <= state.ratio && next.ratio >= minimum)
            assert.ok(next.best! <= loss / (1 - 1e-4))
            state = next
          }
        },
      ),
    )
  })

  it('goes on from its state as JSON, and multiplies the warm-up', () => {
    const state = after([2, 3, 1, 4, 5], { patience: 1, factor: 0.25 })
    assert.deepEqual(JSON.parse(JSON.stringify(state)), state)
    assert.equal(state.ratio, 0.25)
    assert.equal(ratio(1, 10, { warmup: 3 }, state), 0.5 * 0.25)
    assert.equal(ratio(5, 10, { warmup: 3 }, state), 0.25)
  })

  it('refuses a loss that is not finite and options out of range', () => {
    assert.throws(() => observe(scheduleStart, NaN), /got validation loss NaN, want a finite number/)
    for (const bad of [{ factor: 1 }, { factor: 0 }, { patience: -1 }, { threshold: 2 }, { minimum: -1 }]) {
      assert.throws(() => observe(scheduleStart, 1, bad), RangeError)
      assert.throws(() => ratio(0, 5, bad), RangeError)
    }
  })
})
