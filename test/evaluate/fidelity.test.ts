import assert from 'node:assert/strict'
import { it } from 'node:test'
import { ints, type NDArray } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { fidelity, type LayerWeights, layerWeights } from '../../src/evaluate/fidelity.ts'
import { createForward } from '../../src/execute/forward.ts'
import type { Model } from '../../src/models/model.ts'
import { tinyBatch, tinyModel } from '../execute/tiny.ts'
import * as reference from '../reference.ts'
import { device, near } from '../tensors.ts'

const teacher = tinyModel({ kind: 'softmax' })
const [layers, heads, l] = [2, 2, 9]
const batches = [tinyBatch(2, l, 1).ids, tinyBatch(2, l, 2).ids]

async function shownOf(student: Model, ids: NDArray, stream: 'teacher' | 'student'): Promise<LayerWeights[]> {
  const found: LayerWeights[] = []
  for await (const weights of layerWeights(device, teacher, student, ids, { stream })) found.push(weights)
  return found
}

/** Row `query` of one head of one sequence, as far as it sees. */
function row({ data }: NDArray, b: number, head: number, query: number): number[] {
  const start = ((b * heads + head) * l + query) * l
  return Array.from(data.subarray(start, start + query + 1))
}

const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length

for (const map of ['hedgehog-exp', 'elu'] as const) {
  for (const stream of ['teacher', 'student'] as const) {
    it(`fidelity of ${map} on the ${stream}'s stream is what plain loops give`, async () => {
      const student = linearize(teacher, map, random(1))
      const found = await fidelity(device, teacher, student, batches, { stream })
      assert.deepEqual(
        found.map(({ layer, head }) => [layer, head]),
        [0, 1].flatMap((layer) => [0, 1].map((head) => [layer, head])),
      )
      const shown = await Promise.all(batches.map((ids) => shownOf(student, ids, stream)))
      for (const { layer, head, ...got } of found) {
        const rows = shown.flatMap((parts) =>
          [0, 1].flatMap((b) =>
            Array.from({ length: l }, (_, query) => {
              const part = parts[layer]!
              const of = (array: NDArray) => row(array, b, head, query)
              return { query, teacher: of(part.teacher), student: of(part.student), scores: of(part.scores) }
            }),
          ),
        )
        const want = {
          kl: mean(rows.map((one) => reference.divergence(one.teacher, one.student))),
          entropyTeacher: mean(rows.map((one) => reference.entropy(one.teacher))),
          entropyStudent: mean(rows.map((one) => reference.entropy(one.student))),
          // Queries that see fewer than three keys are left out.
          monotonicity: mean(
            rows.flatMap((one) => (one.query >= 2 ? [reference.spearman(one.scores, one.student)] : [])),
          ),
        }
        for (const name of ['kl', 'entropyTeacher', 'entropyStudent', 'monotonicity'] as const) {
          assert.ok(Math.abs(got[name] - want[name]) < 2e-5, `${name} of ${layer}.${head}: ${got[name]}, ${want[name]}`)
        }
        assert.ok(got.kl > 0 && got.monotonicity >= -1 && got.monotonicity <= 1)
      }
    })
  }
}

it('a teacher is its own likeness: no divergence, equal entropies, weights that rise with the scores', async () => {
  for (const stream of ['teacher', 'student'] as const) {
    for (const head of await fidelity(device, teacher, teacher, batches, { stream })) {
      assert.ok(Math.abs(head.kl) < 1e-6)
      assert.equal(head.entropyStudent, head.entropyTeacher)
      assert.ok(head.monotonicity > 0.999)
    }
  }
})

it('fidelity of a sequence too short for ranks is still a number', async () => {
  const student = linearize(teacher, 'elu', random(1))
  for (const length of [1, 2, 3]) {
    const found = await fidelity(device, teacher, student, [tinyBatch(2, length).ids], { stream: 'teacher' })
    assert.equal(found.length, layers * heads)
    for (const head of found) assert.ok(Object.values(head).every(Number.isFinite), `length ${length}`)
  }
})

it("weights sum to one, and the student's stream ends in the student's own hidden states", async () => {
  const student = linearize(teacher, 'hedgehog-softmax', random(1))
  const shown = await shownOf(student, batches[0]!, 'teacher')
  for (const { teacher: a, student: b } of shown) {
    for (const array of [a, b]) {
      for (let start = 0; start < array.data.length; start += l) {
        assert.ok(Math.abs(mean([...array.data.subarray(start, start + l)]) * l - 1) < 1e-5)
      }
    }
  }
  // The first layer sees the same either way; a later one sees what the first changed.
  const own = await shownOf(student, batches[0]!, 'student')
  near(own[0]!.student, shown[0]!.student, 0)
  assert.notDeepEqual(own[1]!.student.data, shown[1]!.student.data)
  const forward = createForward(device, student.config)
  const { data } = await forward.hidden(student.params, { ids: ints([2, l], batches[0]!.data as Int32Array) })
  assert.ok(data.every(Number.isFinite))
  await forward.dispose()
})
