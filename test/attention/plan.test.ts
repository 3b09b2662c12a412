import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { grouped } from '../../src/attention/heads.ts'
import { isMapPath } from '../../src/attention/mapParams.ts'
import { attendBy, planName, planNamed, planParams, readPlan } from '../../src/attention/plan.ts'
import { random } from '../../src/base/random.ts'
import { initialise } from '../../src/nn/params.ts'
import type { Arrays } from '../../src/runtime/device.ts'
import { doubles, near, normals, run } from '../tensors.ts'
import { chosenMaps, mapNames, otherKinds } from './examples.ts'

const sizes = { heads: 3, headDim: 5 }
const plans = [...mapNames, ...chosenMaps, ...otherKinds].map((name) => planNamed(name))

describe('attention plans', () => {
  for (const plan of plans) {
    const name = planName(plan)

    it(`of ${name} come back from JSON as they were`, () => {
      assert.deepEqual(readPlan('test', JSON.parse(JSON.stringify(plan))), plan)
    })

    it(`of ${name} come back from their name as they were`, () => {
      assert.deepEqual(planNamed(planName(plan)), plan)
    })

    it(`of ${name} have parameters that only distillation need train, and give (b h l e)`, async () => {
      const specs = planParams(plan, sizes)
      const rng = random(1)
      const params: Arrays = Object.fromEntries(
        Object.entries(initialise(specs, rng)).map(([path, { shape, data }]) => [
          path,
          doubles(shape, Float64Array.from(data)),
        ]),
      )
      const heads = { q: normals(rng, [2, 3, 7, 5]), k: normals(rng, [2, 3, 7, 5]), v: normals(rng, [2, 3, 7, 4]) }
      const { y } = await run(
        ({ q, k, v, ...rest }) => {
          assert.ok(Object.keys(specs).every((path) => isMapPath(`attn.${path}`)))
          return { y: attendBy(plan, rest, { causal: true })({ q: q!, k: k!, v: v! }) }
        },
        { ...heads, ...params },
      )
      assert.deepEqual([...y!.shape], [2, 3, 7, 4])
    })

    it(`of ${name} give grouped queries the keys and values of their group`, async () => {
      const rng = random(2)
      const specs = planParams(plan, { heads: 6, headDim: 5 })
      const params: Arrays = Object.fromEntries(
        Object.entries(specs).map(([path, { shape }]) => [path, normals(rng.split(path), shape, 0.5)]),
      )
      const [q, k, v] = [normals(rng, [2, 6, 4, 5]), normals(rng, [2, 3, 4, 5]), normals(rng, [2, 3, 4, 3])]
      const repeated = (x: typeof k) => {
        const head = x.data.length / 6
        const copies = Array.from({ length: 12 }, (_, i) => {
          const from = (Math.floor(i / 6) * 3 + Math.floor((i % 6) / 2)) * head
          return [...x.data.subarray(from, from + head)]
        })
        return doubles(x.shape.with(1, 6), copies)
      }
      const attend = (inputs: Arrays) =>
        run(
          (given) => {
            const heads = grouped({ q: given.q!, k: given.k!, v: given.v! })
            return { y: attendBy(plan, given, { causal: true })(heads) }
          },
          { ...inputs, ...params },
        )
      near((await attend({ q, k, v })).y, (await attend({ q, k: repeated(k), v: repeated(v) })).y!, 1e-12)
    })
  }

  it('say where a wrong one stands and what is wanted', () => {
    assert.throws(
      () => readPlan('config.json: x[2]', { kind: 'magic' }),
      /config\.json: x\[2\].*"magic".*softmax or linear/,
    )
    assert.throws(() => readPlan('config.json: x[2]', null), /config\.json: x\[2\]/)
    assert.throws(
      () => readPlan('config.json: x[2]', { kind: 'linear', map: 'spiky' }),
      /config\.json: x\[2\].*spiky.*relu/,
    )
  })

  it('say so when query heads cannot be shared out among key heads', async () => {
    const [q, k] = [normals(random(3), [1, 3, 2, 4]), normals(random(3), [1, 2, 2, 4])]
    const refused = run((given) => ({ y: grouped({ q: given.q!, k: given.k!, v: given.k! }).k }), { q, k })
    await assert.rejects(refused, { name: 'RangeError', message: /3 query heads.*2/ })
  })
})
