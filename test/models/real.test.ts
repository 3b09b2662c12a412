import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { ints } from '../../src/base/array.ts'
import { finish } from '../../src/base/progress.ts'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { createForward } from '../../src/execute/forward.ts'
import { createGenerator } from '../../src/generate/state.ts'
import { loadTokenizer } from '../../src/io/tokenizer.ts'
import { loadModel } from '../../src/models/folder.ts'
import type { Model } from '../../src/models/model.ts'
import { isLanguage } from '../../src/models/task.ts'
import { openSource } from '../../src/node/source.ts'
import { device } from '../tensors.ts'

/** Some results of transformers on the real weights: scripts/golden/real_models.py. */
const golden: Record<string, { ids: number[]; largest: number; rows: number[][] }> = JSON.parse(
  readFileSync('test/fixtures/real.json', 'utf8'),
)

const open = (name: string) => finish(openSource(`.cache/models/${name}`))

/** Logits of a language model, states of another, row by row. */
async function rowsOf({ config, params }: Model, ids: readonly number[]): Promise<Float32Array[]> {
  const forward = createForward(device, config)
  try {
    const h = await forward.hidden(params, { ids: ints([1, ids.length], ids) })
    const { data } = isLanguage(config.task) ? await forward.logits(params, h) : h
    const width = data.length / ids.length
    return ids.map((_, row) => data.subarray(row * width, (row + 1) * width))
  } finally {
    await forward.dispose()
  }
}

for (const [name, { ids, largest, rows }] of Object.entries(golden)) {
  const skip = !existsSync(`.cache/models/${name}`) && 'scripts/fetch-models.ts has not been run'
  describe(name, { skip }, () => {
    it('computes what transformers does, to 1e-4 of the largest value', async () => {
      const found = await rowsOf(await loadModel(await open(name)), ids)
      const apart = rows.flatMap((row, i) => row.map((want, column) => Math.abs(found[i]![column]! - want)))
      assert.ok(Math.max(...apart) <= 1e-4 * largest, `${Math.max(...apart)} of ${largest}`)
    })
  })
}

const chat = 'smollm2-135m-instruct'
describe(`${chat}, as a model that writes`, { skip: !existsSync(`.cache/models/${chat}`) && 'it is not there' }, () => {
  it('knows a capital, and with linear attention reads on from its state as it reads at once', async () => {
    const source = await open(chat)
    const [model, tokenizer] = [await loadModel(source), await loadTokenizer(source)]
    const ids = [...tokenizer.encode('The capital of France is')]
    const last = (await rowsOf(model, ids)).at(-1)!
    assert.equal(tokenizer.decode([last.indexOf(Math.max(...last))]), ' Paris')
    const student = linearize(model, 'hedgehog', random(0))
    const whole = (await rowsOf(student, ids)).at(-1)!
    const generator = createGenerator(device, student)
    try {
      const first = await generator.advance(generator.start(), ints([1, 2], ids.slice(0, 2)))
      const { logits } = await generator.advance(first.state, ints([1, ids.length - 2], ids.slice(2)))
      // Sums in another order: what they round is relative to the largest logits, not to one that is near zero.
      const largest = Math.max(...whole.map(Math.abs))
      const apart = whole.map((want, i) => Math.abs(logits.data[i]! - want))
      assert.ok(Math.max(...apart) <= 1e-5 * largest, `${Math.max(...apart)} of ${largest}`)
    } finally {
      await generator.dispose()
    }
  })
})
