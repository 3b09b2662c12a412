import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type FloatArray, floats, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { plainKernels } from '../../src/runtime/kernels.ts'
import { createMemory } from '../../src/runtime/memory.ts'
import { adamw, createSlots, isMatrix, optimizers, sgd } from '../../src/train/optimizers.ts'

const shapes: Record<string, readonly number[]> = { 'wte.weight': [5, 3], 'h.0.ln_1.bias': [3], 'h.0.gate': [] }

function draw(seed: number, allocate: (shape: readonly number[]) => FloatArray = floats): Params {
  const draws = random(seed)
  return Object.fromEntries(
    Object.entries(shapes).map(([path, shape]) => {
      const array = allocate(shape)
      for (let i = 0; i < array.data.length; i++) array.data[i] = draws.normal()
      return [path, array]
    }),
  )
}

/** Textbook AdamW in float64 for one number: Loshchilov and Hutter, algorithm 2, schedule multiplier in the rate. */
function trajectory(start: number, gradients: readonly number[], rates: readonly number[], decay: number): number[] {
  let [p, m, v] = [start, 0, 0]
  return gradients.map((g, i) => {
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    const [mean, square] = [m / (1 - 0.9 ** (i + 1)), v / (1 - 0.999 ** (i + 1))]
    p -= rates[i]! * (mean / (Math.sqrt(square) + 1e-8) + decay * p)
    return p
  })
}

describe('adamw', () => {
  const memory = createMemory(4096)
  for (const { name, kernels, allocate } of [
    { name: 'loops', kernels: plainKernels, allocate: floats },
    { name: 'SIMD', kernels: memory, allocate: memory.allocate },
  ]) {
    it(`follows the float64 trajectory over 50 steps with ${name}`, () => {
      const params = draw(1, allocate)
      const start = draw(1)
      const optimizer = adamw({ weightDecay: 0.1 })
      const slots = createSlots(optimizer, params, allocate)
      const steps = Array.from({ length: 50 }, (_, i) => i)
      const rates = steps.map((i) => 2e-3 * (1 - i / 100))
      const gradients = steps.map((i) => draw(100 + i))
      const grads = draw(2, allocate)
      for (const i of steps) {
        for (const [path, gradient] of Object.entries(gradients[i]!)) grads[path]!.data.set(gradient.data)
        optimizer.step({ params, grads, slots, step: i + 1, learningRate: rates[i]! }, kernels)
        for (const [path, parameter] of Object.entries(params)) {
          parameter.data.forEach((got, at) => {
            const seen = gradients.slice(0, i + 1).map((gradient) => gradient[path]!.data[at]!)
            const decay = path === 'wte.weight' ? 0.1 : 0
            const want = trajectory(start[path]!.data[at]!, seen, rates, decay).at(-1)!
            assert.ok(Math.abs(got - want) <= 1e-6 * Math.max(1, Math.abs(want)), `${path} ${at}: ${got}, want ${want}`)
          })
        }
      }
    })
  }

  it('moves each element by the learning rate in the first step, whatever the gradient', () => {
    const params = { a: floats([4], [0, 0, 0, 0]) }
    const optimizer = adamw()
    const grads = { a: floats([4], [1e-3, 5, -1e4, 0]) }
    optimizer.step({ params, grads, slots: createSlots(optimizer, params), step: 1, learningRate: 0.5 })
    const want = [-0.5, -0.5, 0.5, 0]
    params.a.data.forEach((value, i) => {
      assert.ok(Math.abs(value - want[i]!) < 1e-5)
    })
  })
})

describe('sgd', () => {
  it('sums gradients with momentum and decays matrices only', () => {
    const params = { w: floats([1, 1], [2]), b: floats([1], [2]) }
    const grads = { w: floats([1, 1], [4]), b: floats([1], [4]) }
    const optimizer = sgd({ momentum: 0.5, weightDecay: 0.25 })
    const slots = createSlots(optimizer, params)
    for (const step of [1, 2]) optimizer.step({ params, grads, slots, step, learningRate: 0.5, gradScale: 0.5 })
    assert.deepEqual([...slots.sum!.b!.data], [3])
    assert.deepEqual([...params.b.data], [2 - 0.5 * 2 - 0.5 * 3])
    assert.deepEqual([...params.w.data], [(2 * 0.875 - 0.5 * 2) * 0.875 - 0.5 * 3])
  })
})

for (const [name, create] of Object.entries(optimizers)) {
  describe(`every optimizer: ${name}`, () => {
    const optimizer = create({ weightDecay: 0.5 })

    it('has its name and slots of zeros in the shapes of the parameters', () => {
      assert.equal(optimizer.name, name)
      const slots = createSlots(optimizer, draw(1))
      assert.deepEqual(Object.keys(slots), optimizer.slots)
      for (const slot of Object.values(slots)) {
        for (const [path, shape] of Object.entries(shapes)) assert.deepEqual(slot[path], floats(shape))
      }
    })

    it('leaves parameters without a gradient alone', () => {
      const [params, before] = [draw(1), draw(1)]
      const grads = { 'h.0.gate': floats([], [1]) }
      optimizer.step({ params, grads, slots: createSlots(optimizer, params), step: 1, learningRate: 0.1 })
      assert.notDeepEqual(params['h.0.gate'], before['h.0.gate'])
      assert.deepEqual(params['wte.weight'], before['wte.weight'])
    })

    it('with a gradient of zero only decays, and only what its predicate names', () => {
      const [params, before] = [draw(1), draw(1)]
      const grads = Object.fromEntries(Object.entries(shapes).map(([path, shape]) => [path, floats(shape)]))
      optimizer.step({ params, grads, slots: createSlots(optimizer, params), step: 1, learningRate: 0.5 })
      for (const [path, { data, shape }] of Object.entries(params)) {
        const factor = isMatrix(path, shape) ? 0.75 : 1
        assert.deepEqual(
          data,
          before[path]!.data.map((value) => value * factor),
        )
      }
      const none = create({ weightDecay: 0.5, decays: (path) => path.endsWith('bias') })
      none.step({ params: before, grads, slots: createSlots(none, before), step: 1, learningRate: 0.5 })
      assert.deepEqual(before['wte.weight'], draw(1)['wte.weight'])
      assert.notDeepEqual(before['h.0.ln_1.bias'], draw(1)['h.0.ln_1.bias'])
    })

    it('scaling the gradient by gradScale is scaling it by hand', () => {
      const [one, other] = [draw(1), draw(1)]
      const grads = draw(2)
      const halved = Object.fromEntries(
        Object.entries(grads).map(([path, { shape, data }]) => [
          path,
          floats(
            shape,
            data.map((x) => x / 2),
          ),
        ]),
      )
      const common = { step: 3, learningRate: 0.1 }
      optimizer.step({ params: one, grads, slots: createSlots(optimizer, one), gradScale: 0.5, ...common })
      optimizer.step({ params: other, grads: halved, slots: createSlots(optimizer, other), ...common })
      assert.deepEqual(one, other)
    })

    it('names the path of what is missing or mis-shaped', () => {
      const params = { a: floats([2]) }
      const slots = createSlots(optimizer, params)
      const base = { params, slots, step: 1, learningRate: 0.1 }
      assert.throws(() => optimizer.step({ ...base, grads: { b: floats([2]) } }), /gradient for b, which is not/)
      assert.throws(() => optimizer.step({ ...base, grads: { a: floats([1, 2]) } }), /a: got gradient \[1,2\], want/)
      assert.throws(() => optimizer.step({ ...base, grads: params, slots: {} }), /a has no slot .*createSlots/)
    })

    it('refuses numbers out of range', () => {
      const params = { a: floats([2]) }
      const base = { params, grads: params, slots: createSlots(optimizer, params), step: 1, learningRate: 0.1 }
      for (const bad of [
        { step: 0 },
        { step: 1.5 },
        { learningRate: -1 },
        { learningRate: NaN },
        { gradScale: Infinity },
      ]) {
        assert.throws(() => optimizer.step({ ...base, ...bad }), RangeError)
      }
      for (const weightDecay of [-1, NaN, Infinity]) assert.throws(() => create({ weightDecay }), RangeError)
    })
  })
}

it('options of one optimizer are checked too', () => {
  for (const bad of [{ beta1: 1 }, { beta1: -0.1 }, { beta2: 1 }, { epsilon: 0 }, { epsilon: 1e-60 }, { beta2: NaN }]) {
    assert.throws(() => adamw(bad), RangeError, JSON.stringify(bad))
  }
  assert.throws(() => sgd({ momentum: 1 }), /sgd: got momentum 1, want at least 0 and below 1/)
})
