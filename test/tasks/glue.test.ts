import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type DatasetName, datasets } from '../../src/tasks/datasets.ts'
import { collected, type Example } from '../../src/tasks/examples.ts'
import { memory } from './memory.ts'

type GlueName = Extract<DatasetName, `glue-${string}`>
const read = (name: GlueName, split: string, files: Record<string, string>) =>
  collected<Example>(datasets[name].read(memory(files), split))
const row = (...fields: readonly (string | number)[]) => `${fields.join('\t')}\n`

/** For each task: its columns in training and test files, one training row, and the example that it is. */
const cases: Readonly<Record<GlueName, { train: string; test: string; row: string; testRow: string; want: Example }>> =
  {
    'glue-cola': {
      train: '',
      test: row('index', 'sentence'),
      row: row('gj04', 0, '*', 'They drank the "pub.'),
      testRow: row(0, 'They drank the "pub.'),
      want: { input: 'They drank the "pub.', label: 0 },
    },
    'glue-sst2': {
      train: row('sentence', 'label'),
      test: row('index', 'sentence'),
      row: row('contains no wit ', 1),
      testRow: row(0, 'contains no wit '),
      want: { input: 'contains no wit ', label: 1 },
    },
    'glue-mrpc': {
      train: `\ufeff${row('Quality', '#1 ID', '#2 ID', '#1 String', '#2 String')}`,
      test: `\ufeff${row('index', '#1 ID', '#2 ID', '#1 String', '#2 String')}`,
      row: row(1, 702876, 702977, 'Amrozi accused " the witness " .', 'He accused him .'),
      testRow: row(0, 702876, 702977, 'Amrozi accused " the witness " .', 'He accused him .'),
      want: { input: 'Amrozi accused " the witness " .', pair: 'He accused him .', label: 1 },
    },
    'glue-stsb': {
      train: row('index genre filename year old_index source1 source2 sentence1 sentence2 score'.replaceAll(' ', '\t')),
      test: row('index genre filename year old_index source1 source2 sentence1 sentence2'.replaceAll(' ', '\t')),
      row: row(0, 'main-captions', 'MSRvid', '2012test', '0001', 'none', 'none', 'A plane.', 'An air plane.', '4.250'),
      testRow: row(0, 'main-captions', 'MSRvid', '2012test', '0001', 'none', 'none', 'A plane.', 'An air plane.'),
      want: { input: 'A plane.', pair: 'An air plane.', label: 4.25 },
    },
    'glue-qqp': {
      train: row('id', 'qid1', 'qid2', 'question1', 'question2', 'is_duplicate'),
      test: row('id', 'question1', 'question2'),
      row: row(133273, 213221, 213222, 'How is life?', 'How is it?', 0),
      testRow: row(0, 'How is life?', 'How is it?'),
      want: { input: 'How is life?', pair: 'How is it?', label: 0 },
    },
    'glue-mnli-matched': mnli(),
    'glue-mnli-mismatched': mnli(),
    'glue-qnli': {
      train: row('index', 'question', 'sentence', 'label'),
      test: row('index', 'question', 'sentence'),
      row: row(0, 'When?', 'In 1934.', 'not_entailment'),
      testRow: row(0, 'When?', 'In 1934.'),
      want: { input: 'When?', pair: 'In 1934.', label: 1 },
    },
    'glue-rte': {
      train: row('index', 'sentence1', 'sentence2', 'label'),
      test: row('index', 'sentence1', 'sentence2'),
      row: row(0, 'It rains.', 'It is wet.', 'entailment'),
      testRow: row(0, 'It rains.', 'It is wet.'),
      want: { input: 'It rains.', pair: 'It is wet.', label: 0 },
    },
  }

function mnli() {
  const parses = ['sentence1_binary_parse', 'sentence2_binary_parse', 'sentence1_parse', 'sentence2_parse']
  const columns = ['index', 'promptID', 'pairID', 'genre', ...parses, 'sentence1', 'sentence2']
  const fields = [0, '31193n', '31193n', 'government', '( a )', '( b )', '(A)', '(B)', 'Skims cream.', 'It has two.']
  return {
    train: row(...columns, 'label1', 'gold_label'),
    test: row(...columns),
    row: row(...fields, 'neutral', 'neutral'),
    testRow: row(...fields),
    want: { input: 'Skims cream.', pair: 'It has two.', label: 1 },
  }
}

describe('GLUE', () => {
  for (const [name, { train, test: header, row: one, testRow, want }] of Object.entries(cases)) {
    const dataset = datasets[name as GlueName]
    test(`${name} is read from the layout of its files`, async () => {
      const isMade = name === 'glue-mrpc'
      const file = (split: string) =>
        isMade ? { train: 'train.tsv', validation: 'dev.tsv', test: 'test.tsv' }[split]! : dataset.splits[split]![0]!
      const files = {
        [file('train')]: train + one + one,
        [file('validation')]: train + one,
        [file('test')]: header + testRow,
      }
      assert.deepEqual(await read(name as GlueName, 'train', files), [want, want])
      assert.deepEqual(await read(name as GlueName, 'validation', files), [want])
      assert.deepEqual(await read(name as GlueName, 'test', files), [{ ...want, label: -1 }])
    })
  }

  test('MRPC is read from the original corpus and the list of development pairs too', async () => {
    const header = `\ufeff${row('Quality', '#1 ID', '#2 ID', '#1 String', '#2 String')}`
    const files = {
      'mrpc_dev_ids.tsv': row(11, 12) + row(31, 32),
      'msr_paraphrase_train.txt':
        header + row(1, 11, 12, 'a', 'b') + row(0, 21, 22, 'c', 'd') + row(0, 31, 32, 'e', 'f'),
      'msr_paraphrase_test.txt': header + row(1, 41, 42, 'g', 'h'),
    }
    const texts = async (split: string) =>
      (await read('glue-mrpc', split, files)).map(({ input, label }) => [input, label])
    assert.deepEqual(await texts('train'), [['c', 0]])
    assert.deepEqual(await texts('validation'), [
      ['a', 1],
      ['e', 0],
    ])
    assert.deepEqual(await texts('test'), [['g', -1]])
  })

  test('QQP leaves out rows that are too short, the other tasks name them', async () => {
    const { train, row: one, want } = cases['glue-qqp']
    assert.deepEqual(await read('glue-qqp', 'train', { 'train.tsv': `${train}7\t8\tbroken\n${one}` }), [want])
    await assert.rejects(read('glue-rte', 'train', { 'train.tsv': `${cases['glue-rte'].train}0\tIt rains.\n` }), {
      message: 'data/train.tsv:2: got 2 columns, want 4: index, sentence1, sentence2, label',
    })
  })

  test('files of another layout or with another label name file and line', async () => {
    await assert.rejects(
      read('glue-sst2', 'train', { 'train.tsv': 'text\tlabel\n' }),
      /^Error: data\/train.tsv:1: got the columns text, label, want sentence among them/,
    )
    await assert.rejects(
      read('glue-qnli', 'train', { 'train.tsv': `${cases['glue-qnli'].train}0\tWhen?\tNow.\tmaybe\n` }),
      /^Error: data\/train.tsv:2: got the label "maybe", want one of entailment, not_entailment, or 0 to 1/,
    )
    await assert.rejects(
      read('glue-cola', 'train', { 'train.tsv': 'gj04\t2\t\tIt is.\n' }),
      /data\/train.tsv:1: got the label "2"/,
    )
  })
})
