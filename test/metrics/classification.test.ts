import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { accuracy, type Classes, f1, f1Macro, matthews } from '../../src/metrics/classification.ts'
import { metrics } from '../../src/metrics/metrics.ts'

const golden = JSON.parse(readFileSync(new URL('../fixtures/classification.json', import.meta.url), 'utf8'))
const near = (got: number, want: number, what: string) =>
  assert.ok(Math.abs(got - want) < 1e-12, `${what}: got ${got}, want ${want}`)

const classes = fc
  .integer({ min: 1, max: 5 })
  .chain((kinds) =>
    fc
      .array(fc.tuple(fc.nat(kinds - 1), fc.nat(kinds - 1)), { minLength: 1, maxLength: 30 })
      .map((pairs): Classes => ({ predictions: pairs.map(([a]) => a), labels: pairs.map(([, b]) => b) })),
  )
const swapped = ({ predictions, labels }: Classes): Classes => ({ predictions: labels, labels: predictions })
const mapped = ({ predictions, labels }: Classes, name: (old: number) => number): Classes => ({
  predictions: Array.from(predictions, name),
  labels: Array.from(labels, name),
})

describe('metrics of classes', () => {
  for (const name of ['accuracy', 'f1', 'f1-macro', 'matthews'] as const) {
    it(`${name} is that of scikit-learn`, () => {
      assert.ok(golden.classes.length > 20)
      for (const row of golden.classes) near(metrics[name].measure(row).value, row[name], JSON.stringify(row))
    })
  }

  it('are 1 where all is right, and Matthews is where there is more than one class', () => {
    fc.assert(
      fc.property(classes, ({ labels }) => {
        const right = { predictions: labels, labels }
        const kinds = new Set(Array.from(labels)).size
        assert.equal(accuracy(right), 1)
        assert.equal(f1Macro(right), 1)
        near(matthews(right), kinds > 1 ? 1 : 0, 'matthews')
      }),
    )
  })

  it('but F1 do not depend on which side is right', () => {
    fc.assert(
      fc.property(classes, (given) => {
        for (const metric of [accuracy, matthews, f1, f1Macro]) near(metric(swapped(given)), metric(given), metric.name)
      }),
    )
  })

  it('do not depend on the names of classes, and F1 follows its class', () => {
    fc.assert(
      fc.property(classes, fc.integer({ min: 1, max: 9 }), (given, shift) => {
        const renamed = mapped(given, (name) => (name * 3 + shift) % 16)
        for (const metric of [accuracy, matthews, f1Macro]) near(metric(renamed), metric(given), metric.name)
        near(f1(renamed, (3 + shift) % 16), f1(given), 'f1')
      }),
    )
  })

  it('do not depend on the order of examples, and repeating all of them changes nothing', () => {
    fc.assert(
      fc.property(classes, ({ predictions, labels }) => {
        const turned = { predictions: Array.from(predictions).reverse(), labels: Array.from(labels).reverse() }
        const twice = {
          predictions: [...turned.predictions, ...turned.predictions],
          labels: [...turned.labels, ...turned.labels],
        }
        for (const metric of [accuracy, matthews, f1, f1Macro]) {
          near(metric(twice), metric({ predictions, labels }), metric.name)
        }
      }),
    )
  })

  it('Matthews of two classes turns its sign when predictions are turned over', () => {
    const two = fc.array(fc.tuple(fc.nat(1), fc.nat(1)), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(two, (pairs) => {
        const [predictions, labels] = [pairs.map(([a]) => a), pairs.map(([, b]) => b)]
        near(
          matthews({ predictions: predictions.map((a) => 1 - a), labels }),
          -matthews({ predictions, labels }),
          'turned',
        )
      }),
    )
  })

  it('refuse no examples, unequal numbers of them, and what is no class', () => {
    for (const metric of [accuracy, f1, f1Macro, matthews]) {
      const fails = (predictions: number[], labels: number[], message: RegExp) =>
        assert.throws(() => metric({ predictions, labels }), { name: 'RangeError', message })
      fails([], [], /got nothing to measure/)
      fails([1, 0], [1], /got 2 values beside 1/)
      fails([1, 0.5], [1, 0], /predictions: value 1: got 0\.5, want a class number from 0/)
      fails([1], [-1], /labels: value 0: got -1/)
      fails([Number.NaN], [1], /got NaN/)
    }
  })
})

describe('correlations', () => {
  for (const name of ['pearson', 'spearman'] as const) {
    it(`${name} is that of scipy`, () => {
      assert.ok(golden.scores.length > 10)
      for (const row of golden.scores) near(metrics[name].measure(row).value, row[name], name)
    })

    it(`${name} does not change under a scale and an offset, is symmetric, and lies in [−1, 1]`, () => {
      const value = fc.integer({ min: -50, max: 50 })
      fc.assert(
        fc.property(fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 20 }), (pairs) => {
          const [scores, targets] = [pairs.map(([a]) => a), pairs.map(([, b]) => b)]
          const measure = (a: number[], b: number[]) => metrics[name].measure({ scores: a, targets: b }).value
          const found = measure(scores, targets)
          assert.ok(found >= -1 && found <= 1)
          near(measure(targets, scores), found, 'swapped')
          near(
            measure(
              scores.map((a) => a / 8 - 3),
              targets,
            ),
            found,
            'moved',
          )
          near(
            measure(
              scores.map((a) => -a),
              targets,
            ),
            -found,
            'turned',
          )
          if (new Set(scores).size > 1) near(measure(scores, scores), 1, 'itself')
        }),
      )
    })

    it(`${name} is 0 where one side does not vary, even by rounding`, () => {
      const measure = (scores: number[], targets: number[]) => metrics[name].measure({ scores, targets }).value
      assert.equal(measure([0.1, 0.1, 0.1], [1, 2, 4]), 0)
      assert.equal(measure([3], [4]), 0)
    })

    it(`${name} holds for values too small or too large to square`, () => {
      for (const unit of [1e-300, 1e200]) {
        const found = metrics[name].measure({ scores: [unit, 2 * unit, 4 * unit], targets: [1, 2, 4] }).value
        near(found, 1, `${unit}`)
      }
    })

    it(`${name} refuses what is no number`, () => {
      assert.throws(
        () => metrics[name].measure({ scores: [1, Number.NaN], targets: [1, 2] }),
        /scores: value 1: got NaN/,
      )
      assert.throws(
        () => metrics[name].measure({ scores: [1, 2], targets: [1, Infinity] }),
        /targets: value 1: got Inf/,
      )
      assert.throws(() => metrics[name].measure({ scores: [], targets: [] }), /nothing to measure/)
    })
  }
})
