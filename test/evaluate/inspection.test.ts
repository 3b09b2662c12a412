import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { planNamed } from '../../src/attention/plan.ts'
import { ints } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import {
  createInspection,
  type HeadProperties,
  type InspectionOptions,
  meanProperties,
} from '../../src/evaluate/inspection.ts'
import { propertyNamed, propertyNames } from '../../src/evaluate/propertyNames.ts'
import type { Model } from '../../src/models/model.ts'
import type { Device } from '../../src/runtime/device.ts'
import { mapNames } from '../attention/examples.ts'
import { tinyBatch, tinyModel } from '../execute/tiny.ts'
import * as reference from '../reference.ts'
import { device } from '../tensors.ts'

const [layers, heads, l] = [2, 2, 11]
const teacher = tinyModel({ kind: 'softmax' }, layers)
const { ids } = tinyBatch(3, l, 1)
const names = [...mapNames, 'window:4:1', 'hybrid:3', 'top-k:3']
const students = Object.fromEntries(names.map((name) => [name, linearize(teacher, name, random(1))]))

async function measured(of: Readonly<Record<string, Model>>, options: InspectionOptions = {}, on: Device = device) {
  const inspection = createInspection(on, teacher, of, options)
  try {
    return await inspection.measure(ids)
  } finally {
    await inspection.dispose()
  }
}

const keyOf = ({ name, layer, head }: HeadProperties) => `${name} ${layer}.${head}`

function nearHeads(got: readonly HeadProperties[], want: readonly HeadProperties[], tolerance: number): void {
  assert.deepEqual(got.map(keyOf), want.map(keyOf))
  for (const [i, one] of got.entries()) {
    for (const name of propertyNames) {
      assert.ok(Math.abs(one[name]! - want[i]![name]!) <= tolerance, `${name} of ${keyOf(one)}: ${one[name]}`)
    }
  }
}

const together = await measured(students)

describe('an inspection', () => {
  it('lists softmax and every student, each with every property of every head', () => {
    const each = ['softmax', ...names].flatMap((name) =>
      Array.from({ length: layers * heads }, (_, i) => `${name} ${Math.floor(i / heads)}.${i % heads}`),
    )
    assert.deepEqual(together.map(keyOf), each)
    for (const one of together) for (const name of propertyNames) assert.ok(Number.isFinite(one[name]), keyOf(one))
  })

  it('finds of softmax itself no divergence, a monotonicity of 1 and no inversions', async () => {
    const equal = await measured({ equal: teacher })
    for (const one of [...equal, ...together.filter(({ name }) => name === 'softmax')]) {
      assert.ok(Math.abs(one.kl!) < 1e-6)
      assert.ok(one.monotonicity! > 1 - 1e-9)
      assert.equal(one.inversions, 0)
    }
  })

  it('does not depend on how many queries are in memory at once', async () => {
    nearHeads(await measured(students, { queryBlock: 4 }), together, 2e-5)
    const some = ['hedgehog-exp', 'cosformer', 'window:4:1']
    const few = Object.fromEntries(some.map((name) => [name, students[name]!]))
    const those = together.filter(({ name }) => name === 'softmax' || some.includes(name))
    const ordered = ['softmax', ...some].flatMap((name) => those.filter((one) => one.name === name))
    for (const queryBlock of [1, 7, 50]) nearHeads(await measured(few, { queryBlock }), ordered, 2e-5)
  })

  it('measures each student as if it were alone', async () => {
    const map = 'hedgehog-exp'
    const alone = await measured({ [map]: students[map]! })
    nearHeads(
      alone,
      together.filter(({ name }) => name === 'softmax' || name === map),
      1e-6,
    )
  })

  it('gives only the properties that were asked for', async () => {
    for (const name of propertyNames) {
      for (const one of await measured({ elu: students.elu! }, { properties: [name] })) {
        assert.deepEqual(Object.keys(one).sort(), ['head', 'layer', 'name', name].sort())
      }
    }
  })

  it('finds what plain loops find in the weights that it shows, on either stream', async () => {
    for (const stream of ['teacher', 'student'] as const) {
      const some = { 'hedgehog-exp': students['hedgehog-exp']!, 'window:4:1': students['window:4:1']! }
      const inspection = createInspection(device, teacher, some, { stream })
      const found = await inspection.measure(ids)
      for await (const { layer, weights, scores } of inspection.weights(ids)) {
        for (const name of Object.keys(weights)) {
          for (let head = 0; head < heads; head++) {
            const rows = Array.from({ length: 3 * l }, (_, i) => {
              const [b, query] = [Math.floor(i / l), i % l]
              const at = ((b * heads + head) * l + query) * l
              const of = ({ data }: { data: ArrayLike<number> }) => Array.from(data).slice(at, at + query + 1)
              return { query, softmax: of(weights.softmax!), own: of(weights[name]!), scores: of(scores[name]!) }
            })
            const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
            // A weight of 0 counts as 1e-30.
            const raised = (row: readonly number[]) => row.map((weight) => Math.max(weight, 1e-30))
            const want = {
              kl: mean(rows.map((row) => reference.divergence(row.softmax, raised(row.own)))),
              entropy: mean(rows.map((row) => reference.entropy(raised(row.own)))),
              inversions: mean(
                rows.flatMap((row) => (row.query >= 2 ? [reference.inversionShare(row.scores, row.own)] : [])),
              ),
            }
            const got = found.find((one) => keyOf(one) === `${name} ${layer}.${head}`)!
            for (const [property, value] of Object.entries(want)) {
              const is = got[property as keyof typeof want]!
              assert.ok(Math.abs(is - value) < 5e-5, `${stream}: ${property} of ${keyOf(got)}: ${is}, want ${value}`)
            }
          }
        }
      }
      await inspection.dispose()
    }
  })

  it('opens its sessions once, however many batches it measures', async () => {
    let opened = 0
    const open: Device['open'] = (model) => {
      opened += 1
      return device.open(model)
    }
    const counting: Device = { ...device, open }
    const inspection = createInspection(counting, teacher, { elu: students.elu! })
    await inspection.measure(ids)
    const first = opened
    await inspection.measure(tinyBatch(3, l, 2).ids)
    assert.ok(first > 0)
    assert.equal(opened, first)
    await inspection.dispose()
  })

  it('shows weights whose rows sum to one', async () => {
    const inspection = createInspection(device, teacher, students)
    const one = ints([1, l], Int32Array.from(ids.data.subarray(0, l)))
    for await (const { weights } of inspection.weights(one)) {
      for (const [name, { shape, data }] of Object.entries(weights)) {
        assert.deepEqual(shape, [1, heads, l, l])
        for (let start = 0; start < data.length; start += l) {
          const total = data.subarray(start, start + l).reduce((sum, weight) => sum + weight, 0)
          // A row of ReLU features may be zero everywhere.
          assert.ok(Math.abs(total - 1) < 1e-4 || (/relu|t2r|cosformer/.test(name) && total === 0), `${name}: ${total}`)
        }
      }
    }
    await inspection.dispose()
  })

  it('lets every query of a bidirectional model see every key, in one block', async () => {
    const both = (model: Model): Model => ({ ...model, config: { ...model.config, causal: false } })
    const inspection = createInspection(device, both(teacher), { elu: both(students.elu!) }, { queryBlock: 3 })
    const found = await inspection.measure(ids)
    for await (const { layer, weights, scores } of inspection.weights(ids)) {
      for (const one of found.filter((head) => head.layer === layer)) {
        let [kl, inversions, counted] = [0, 0, 0]
        for (let row = 0; row < 3 * heads * l; row++) {
          if (Math.floor(row / l) % heads !== one.head) continue
          const of = ({ data }: { data: ArrayLike<number> }) => Array.from(data).slice(row * l, (row + 1) * l)
          kl += reference.divergence(of(weights.softmax!), of(weights[one.name]!)) / (3 * l)
          if (row % l < 2) continue
          inversions += reference.inversionShare(of(scores.softmax!), of(weights[one.name]!))
          counted += 1
        }
        assert.ok(Math.abs(one.kl! - kl) < 2e-5, keyOf(one))
        assert.ok(Math.abs(one.inversions! - inversions / counted) < 2e-5, keyOf(one))
      }
    }
    await inspection.dispose()
  })

  it('refuses a student of other sizes, or by the name of the teacher', () => {
    assert.throws(() => createInspection(device, teacher, { softmax: teacher }), /a student named softmax/)
    const deeper = tinyModel(planNamed('elu'), 3)
    assert.throws(() => createInspection(device, teacher, { deeper }), /deeper: got layers 3, want the teacher's 2/)
  })
})

it('means over batches count each by its weight', () => {
  const head = (kl: number) => [{ name: 'elu', layer: 1, head: 0, kl, entropy: 2 * kl }]
  const parts = [
    { heads: head(1), weight: 3 },
    { heads: head(5), weight: 1 },
  ]
  assert.deepEqual(meanProperties(parts), head(2))
})

it('an unknown property is answered with those that are known', () => {
  assert.throws(
    () => propertyNamed('spikiness', '--properties'),
    /--properties: got spikiness, want one of kl, entropy/,
  )
})
