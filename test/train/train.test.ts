import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ints, type Params } from '../../src/base/array.ts'
import { Interrupted } from '../../src/base/errors.ts'
import { finish, type Progress } from '../../src/base/progress.ts'
import { createBackward } from '../../src/execute/backward.ts'
import type { Batch, Objective } from '../../src/execute/objective.ts'
import { batches } from '../../src/io/batches.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { loadCheckpoint, resumeFrom, saveCheckpoint } from '../../src/train/checkpoint.ts'
import { adamw } from '../../src/train/optimizers.ts'
import { type BatchStream, type TrainOptions, type TrainState, train } from '../../src/train/train.ts'
import { tinyModel } from '../execute/tiny.ts'
import { device } from '../tensors.ts'

const model = tinyModel({ kind: 'softmax' })
/** A text with a rule: each token tells the next. */
const text = Int32Array.from({ length: 400 }, (_, i) => [1, 4, 2, 9, 7][i % 5]!)

let folder = ''
const objectives: Record<string, Objective> = {}
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-train-'))
  objectives.plain = createBackward(device, model.config)
  objectives.dropout = createBackward(device, model.config, { dropout: 0.2 })
})
after(async () => {
  for (const objective of Object.values(objectives)) await objective.dispose()
  await rm(folder, { recursive: true, force: true })
})

const steps = 5

function options(changes: Partial<TrainOptions> = {}): TrainOptions {
  return {
    phase: 'learn',
    steps,
    batches: batches(text, { length: 6, batch: 2, seed: 3 }),
    optimizer: adamw(),
    learningRate: 1e-2,
    seed: 5,
    clock: () => 0,
    ...changes,
  }
}

/** Everything that a resume must restore: dropout, accumulation, a schedule with memory, validations. */
const whole = (): Partial<TrainOptions> => ({
  accumulate: 2,
  schedule: 'plateau',
  scheduleOptions: { patience: 0, factor: 0.5, threshold: 1, warmup: 1 },
  validate: { every: 1, loss: async (params) => params['ln_f.weight']!.data[0]! },
})

function same(got: Params, want: Params): void {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(want).sort())
  for (const [path, { data }] of Object.entries(want)) assert.deepEqual(got[path]!.data, data, path)
}

const copyOf = (params: Params) =>
  Object.fromEntries(Object.entries(params).map(([path, array]) => [path, { ...array, data: array.data.slice() }]))

const mapped = <A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))

describe('a training run', () => {
  it('that is stopped after any step and resumed from its checkpoint is the uninterrupted run, bit for bit', async () => {
    const seen: Progress[] = []
    const want = await finish(train(objectives.dropout!, model.params, options(whole())), (one) => seen.push(one))
    for (let stop = 0; stop < steps; stop++) {
      const controller = new AbortController()
      if (stop === 0) controller.abort()
      const file = `stop-${stop}.safetensors`
      const save = (state: TrainState) => saveCheckpoint(folderSink(folder), file, state, '{"job":1}')
      const first = train(
        objectives.dropout!,
        model.params,
        options({ ...whole(), signal: controller.signal, checkpoint: { every: 100, save } }),
      )
      await assert.rejects(
        finish(first, ({ step }) => step === stop && controller.abort()),
        (error) => error instanceof Interrupted && error.message === `learn: stopped after step ${stop} of ${steps}`,
      )
      const resume = await resumeFrom(folderSource(folder), file, '{"job":1}')
      const rest: Progress[] = []
      const second = train(objectives.dropout!, model.params, options({ ...whole(), resume }))
      const got = await finish(second, (one) => rest.push(one))
      same(got.params, want.params)
      assert.deepEqual(got.curve, want.curve)
      assert.deepEqual(rest, seen.slice(stop))
    }
  })

  it('gives the same curve and weights for the same seed, and others for another', async () => {
    const run = (seed: number) =>
      finish(
        train(
          objectives.dropout!,
          model.params,
          options({ seed, batches: batches(text, { length: 6, batch: 2, seed }) }),
        ),
      )
    const [once, again, other] = [await run(1), await run(1), await run(2)]
    assert.deepEqual(again.curve, once.curve)
    same(again.params, once.params)
    assert.notDeepEqual(other.curve, once.curve)
  })

  it('with n batches in a step is the run with one batch of n', async () => {
    const run = (batch: number, accumulate: number) =>
      finish(
        train(
          objectives.plain!,
          model.params,
          // A large epsilon: gradients that are 0 but for rounding, as that of a bias of keys, must not become steps.
          options({
            accumulate,
            optimizer: adamw({ epsilon: 1e-4 }),
            batches: batches(text.slice(0, 181), { length: 6, batch, seed: 3 }),
          }),
        ),
      )
    const want = await run(6, 1)
    for (const [batch, accumulate] of [
      [2, 3],
      [1, 6],
    ] as const) {
      const got = await run(batch, accumulate)
      got.curve.forEach(({ loss }, i) => {
        assert.ok(Math.abs(loss - want.curve[i]!.loss) < 1e-5)
      })
      for (const [path, { data }] of Object.entries(want.params)) {
        data.forEach((x, i) => {
          assert.ok(Math.abs(x - got.params[path]!.data[i]!) < 1e-4, path)
        })
      }
    }
  })

  it('weighs batches by the tokens that count, not by their number', async () => {
    const ids = ints([1, 4], [1, 2, 3, 4])
    const parts: Batch[] = [
      { ids, labels: ints([1, 4], [2, 3, 4, 5]) },
      { ids, labels: ints([1, 4], [7, -100, -100, -100]) },
    ]
    const stream = (list: readonly Batch[]): BatchStream => {
      let next = 0
      return { next: () => list[next++ % list.length]!, state: () => next, restore: () => {} }
    }
    const joined: Batch = {
      ids: ints([2, 4], [...parts.flatMap((part) => [...part.ids.data])]),
      labels: ints([2, 4], [...parts.flatMap((part) => [...part.labels.data])]),
    }
    const run = (list: readonly Batch[]) =>
      finish(
        train(objectives.plain!, model.params, options({ steps: 1, accumulate: list.length, batches: stream(list) })),
      )
    const [apart, together] = [await run(parts), await run([joined])]
    assert.ok(Math.abs(apart.curve[0]!.loss - together.curve[0]!.loss) < 1e-6)
  })

  it('changes neither frozen parameters nor any array that came in', async () => {
    const before = copyOf(model.params)
    const trains = (path: string) => /ln_|attn/.test(path)
    const { params } = await finish(train(objectives.plain!, model.params, options({ trains })))
    same(model.params, before)
    for (const [path, { data }] of Object.entries(params)) {
      if (trains(path)) assert.notDeepEqual(data, before[path]!.data, path)
      else assert.deepEqual(data, before[path]!.data, path)
    }
    const nothing = finish(train(objectives.plain!, model.params, options({ trains: () => false })))
    await assert.rejects(nothing, /no parameter is to be trained/)
  })

  it('that consumes what it is given is the same run, and leaves nothing in the arrays it copied', async () => {
    const trains = (path: string) => /ln_|attn/.test(path)
    const states: TrainState[] = []
    const save = async (state: TrainState) => {
      states.push({ ...state, params: copyOf(state.params), slots: mapped(state.slots, copyOf) })
    }
    const kept = await finish(
      train(objectives.plain!, model.params, options({ trains, checkpoint: { every: 2, save } })),
    )
    for (const resume of [undefined, states[0]]) {
      const given = copyOf(model.params)
      const resumed = resume && { resume }
      const { params } = await finish(train(objectives.plain!, given, options({ trains, consume: true, ...resumed })))
      same(params, kept.params)
      for (const [path, { data }] of Object.entries(given)) assert.equal(data.length === 0, trains(path), path)
    }
    for (const { data } of Object.values(states[0]!.params)) assert.equal(data.length, 0)
    for (const slot of Object.values(states[0]!.slots)) {
      for (const { data } of Object.values(slot)) assert.equal(data.length, 0)
    }
  })

  it('learns a text that has a rule', async () => {
    const { curve } = await finish(train(objectives.plain!, model.params, options({ steps: 60, learningRate: 3e-2 })))
    assert.ok(curve[0]!.loss > 2, `${curve[0]!.loss}`)
    assert.ok(curve.at(-1)!.loss < 0.2, `${curve.at(-1)!.loss}`)
  })

  it('ends when its time is up, with a last validation and checkpoint', async () => {
    let now = 0
    const saved: number[] = []
    const { step, curve } = await finish(
      train(
        objectives.plain!,
        model.params,
        options({
          clock: () => now++,
          maxSeconds: 6,
          steps: 1000,
          validate: { every: 500, loss: async () => 1.5 },
          checkpoint: { every: 500, save: async (state) => void saved.push(state.step) },
        }),
      ),
    )
    assert.ok(step > 1 && step < 10)
    assert.deepEqual(saved, [step])
    assert.equal(curve.at(-1)!.validationLoss, 1.5)
  })

  it('names phase and step where a loss, a gradient or a held-out loss is not a number', async () => {
    const fails = (objective: Objective, changes: Partial<TrainOptions>, message: RegExp) =>
      assert.rejects(finish(train(objective, model.params, options(changes))), { message })
    const never = { ...objectives.plain!, dispose: async () => {} }
    const lost: Objective = {
      ...never,
      accumulate: async () => {
        throw new Error('loss: got NaN')
      },
    }
    await fails(lost, {}, /^learn: step 1: loss: got NaN/)
    const broken: Objective = {
      ...never,
      accumulate: async (params, grads, batch, how) => {
        const loss = await objectives.plain!.accumulate(params, grads, batch, how)
        grads['ln_f.bias']!.data[2] = Number.NaN
        return loss
      },
    }
    await fails(broken, {}, /^learn: step 1: .*gradient of ln_f.bias is not finite, got NaN/)
    let calls = 0
    const validate = { every: 1, loss: async () => (++calls < 3 ? 1 : Number.NaN) }
    await fails(objectives.plain!, { validate }, /^learn: step 3: held-out loss: got NaN/)
    await fails(objectives.plain!, { learningRate: 1e30, steps: 20 }, /^learn: step \d+: /)
  })
})

describe('a checkpoint', () => {
  const state: TrainState = {
    step: 2,
    params: { a: model.params['ln_f.weight']! },
    slots: { m: { a: model.params['ln_f.bias']! } },
    schedule: { ratio: 0.5, best: null, waited: 1 },
    data: { epoch: 1 },
    curve: [{ step: 1, loss: 0.1 + 0.2 }],
    tokens: 24,
    seconds: 1.5,
  }

  it('reads back as it was written', async () => {
    await saveCheckpoint(folderSink(folder), 'a.safetensors', state, '{"steps":1}')
    const { state: got, fingerprint } = await loadCheckpoint(folderSource(folder), 'a.safetensors')
    assert.deepEqual({ ...got }, state)
    assert.equal(fingerprint, '{"steps":1}')
  })

  it('of another job is refused with the settings that differ', async () => {
    await saveCheckpoint(folderSink(folder), 'b.safetensors', state, '{"recipe":{"steps":1,"lr":2},"tokens":7}')
    await assert.rejects(
      resumeFrom(folderSource(folder), 'b.safetensors', '{"recipe":{"steps":5,"lr":2},"tokens":7}'),
      /b\.safetensors: was written by a job with other settings: recipe\.steps was 1, now 5; resume with/,
    )
  })

  it('that is missing or none is named', async () => {
    await assert.rejects(resumeFrom(folderSource(folder), 'gone.safetensors', '{}'), /has no file gone\.safetensors/)
    await folderSink(folder).write('short', [new Uint8Array(5)])
    await assert.rejects(resumeFrom(folderSource(folder), 'short', '{}'), /short: got 5 bytes/)
  })
})
