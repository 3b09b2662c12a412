import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { packingOf } from '../../src/tasks/tokenizerPack.ts'

const piece = (id: string, type = 0) => ({ SpecialToken: { id, type_id: type } })
const sequence = (id: string, type = 0) => ({ Sequence: { id, type_id: type } })
const special = { C: { ids: [101] }, S: { ids: [102] } }
const template = {
  type: 'TemplateProcessing',
  single: [piece('C'), sequence('A'), piece('S')],
  pair: [piece('C'), sequence('A'), piece('S'), sequence('B', 1), piece('S', 1)],
  special_tokens: special,
}
const pack = (processor: unknown, maxLength = 9) => packingOf({ json: { post_processor: processor } }, { maxLength })

describe('the packing of a tokenizer', () => {
  it('is that of its template, with types where the second sequence has another', () => {
    const own = pack(template)
    assert.deepEqual(own([1, 2]), { ids: [101, 1, 2, 102], types: [0, 0, 0, 0] })
    assert.deepEqual(own([1, 2], [3]), { ids: [101, 1, 2, 102, 3, 102], types: [0, 0, 0, 0, 1, 1] })
    assert.deepEqual(own([1, 2, 3, 4, 5, 6, 7, 8]).ids, [101, 1, 2, 3, 4, 5, 6, 7, 102])
  })

  it('is the same as that of the processors of BERT and RoBERTa by name, also within a sequence', () => {
    const ends = { cls: ['C', 101], sep: ['S', 102] }
    for (const [a, b] of [
      [[1], undefined],
      [[1], [2, 3]],
    ] as const) {
      assert.deepEqual(pack({ type: 'BertProcessing', ...ends })(a, b), pack(template)(a, b))
    }
    const roberta = pack({
      type: 'Sequence',
      processors: [{ type: 'ByteLevel' }, { type: 'RobertaProcessing', ...ends }],
    })
    assert.deepEqual(roberta([1], [2, 3]), { ids: [101, 1, 102, 102, 2, 3, 102] })
  })

  it('without a processor adds nothing', () => {
    for (const none of [null, undefined, { type: 'ByteLevel' }, { type: 'Sequence', processors: [] }]) {
      assert.deepEqual(pack(none)([1, 2]), { ids: [1, 2] })
    }
  })

  it('that is something else is refused', () => {
    const fails = (processor: object, message: RegExp) => assert.throws(() => pack(processor), { message })
    fails({ type: 'BertProcessing', cls: ['C'], sep: ['S', 1] }, /post_processor: got \["C"\], want a token and its id/)
    fails({ ...template, single: [piece('C')] }, /got the sequences none, want A/)
    fails({ ...template, pair: [sequence('B'), sequence('A')] }, /got the sequences B, A, want A, B/)
    fails({ ...template, single: [piece('X'), sequence('A')] }, /want a token of its special_tokens/)
    fails({ ...template, pair: [sequence('A'), sequence('B')] }, /one sequence and two begin or end with other tokens/)
  })
})
