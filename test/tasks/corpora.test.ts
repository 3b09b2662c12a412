import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { plainWiki, wikiDocuments } from '../../src/tasks/corpora.ts'
import type { Dataset } from '../../src/tasks/dataset.ts'
import { datasets } from '../../src/tasks/datasets.ts'
import { collected } from '../../src/tasks/examples.ts'
import { memory } from './memory.ts'

describe('WikiText', () => {
  const documents = (text: string) => collected(wikiDocuments(memory({ 'wiki.test.tokens': text }), 'wiki.test.tokens'))

  test('is cut at titles between blank lines, not at sections or at lines of text that look like titles', async () => {
    const one = ' \n = Valkyria Chronicles III = \n \n Text @-@ one . \n \n = = Gameplay = = \n \n More text . \n'
    const lookalike = ' Legend : \n = Position ; GP = \n and so on . \n = = = \n \n \n'
    const two = ' = Robert <unk> = \n \n He is . \n'
    assert.deepEqual(await documents(one + lookalike + two), [one + lookalike, two])
  })

  test('put together is the file again', async () => {
    const line = fc.constantFrom(' \n', ' = A = \n', ' = B B = \n', ' = = C = = \n', ' text \n', ' = not one\n')
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 30 }), async (lines) => {
        const found = await documents(lines.join(''))
        if (lines.some((text) => text.trim() !== '')) assert.equal(found.join(''), lines.join(''))
        for (const document of found.slice(1)) assert.match(document, /^ = [AB]/)
      }),
    )
  })

  test('can be read as it is printed', () => {
    const cases = [
      [' a role @-@ playing game ( 1 @,@ 234 @.@ 5 yen ) , sold . \n', 'a role-playing game (1,234.5 yen), sold.\n'],
      [' called " Nameless " by the game \'s players', 'called "Nameless" by the game\'s players'],
      [' = = Gameplay = = ', 'Gameplay'],
      [' She did n\'t say " no " ; they \'re <unk> !', 'She didn\'t say "no"; they\'re <unk>!'],
    ] as const
    for (const [text, want] of cases) assert.equal(plainWiki(text), want)
  })
})

describe('SAMSum', () => {
  const read = (content: string) => collected(datasets.samsum.read(memory({ 'val.json': content }), 'validation'))

  test('is read as dialogues with their summaries', async () => {
    const entry = { id: '13818513', summary: 'Amanda baked cookies.', dialogue: 'Amanda: I baked\r\nJerry: Sure!' }
    assert.deepEqual(await read(JSON.stringify([entry])), [{ ...entry, dialogue: 'Amanda: I baked\nJerry: Sure!' }])
  })

  test('that is malformed names file and entry', async () => {
    await assert.rejects(read('[{"id"'), /^Error: data\/val.json: is not JSON: /)
    await assert.rejects(read('{}'), /^Error: data\/val.json: got no list/)
    const entries = [
      { id: '1', summary: 'a', dialogue: 'b' },
      { id: '2', summary: 'a' },
    ]
    await assert.rejects(
      read(JSON.stringify(entries)),
      /^Error: data\/val.json: entry 1: got dialogue: nothing, want a text/,
    )
  })
})

test('ImageNet numbers its classes by the sorted names of the folders, the same in both splits', async () => {
  const files = [
    'train/n01443537/b.JPEG',
    'train/n01440764/a.JPEG',
    'train/n02084071/c.JPEG',
    'val/n02084071/v1.JPEG',
    'val/n01440764/v0.JPEG',
    'val/readme.txt',
    'LOC_synset_mapping.txt',
  ]
  const source = memory(Object.fromEntries(files.map((file) => [file, ''])))
  assert.deepEqual(await collected(datasets['imagenet-1k'].read(source, 'train')), [
    { file: 'train/n01440764/a.JPEG', label: 0 },
    { file: 'train/n01443537/b.JPEG', label: 1 },
    { file: 'train/n02084071/c.JPEG', label: 2 },
  ])
  assert.deepEqual(await collected(datasets['imagenet-1k'].read(source, 'validation')), [
    { file: 'val/n01440764/v0.JPEG', label: 0 },
    { file: 'val/n02084071/v1.JPEG', label: 2 },
  ])
})

test('mails are read as the script writes them', async () => {
  const line = (text: string, label: string) => `${JSON.stringify({ name: 'x', text, label })}\n`
  const source = memory({ 'test.jsonl': line('Hello', 'ham') + line('Buy now', 'spam') })
  assert.deepEqual(await collected(datasets.spam.read(source, 'test')), [
    { input: 'Hello', label: 0 },
    { input: 'Buy now', label: 1 },
  ])
})

describe('every dataset', () => {
  for (const [name, dataset] of Object.entries(datasets)) {
    test(`${name} says which file it wants and where to get it`, async () => {
      for (const [split, patterns] of Object.entries(dataset.splits)) {
        const missing = collected<unknown>(dataset.read(memory({}), split))
        await assert.rejects(missing, (error: Error) => {
          assert.ok(error.message.startsWith(`data: has no file ${patterns[0]}; `), error.message)
          assert.ok(error.message.includes(dataset.url) && error.message.includes(dataset.folder), error.message)
          return true
        })
      }
      await assert.rejects(collected<unknown>(dataset.read(memory({}), 'toString')), {
        name: 'RangeError',
        message: `split: got toString, want one of ${Object.keys(dataset.splits).join(', ')}`,
      })
    })
  }

  test('is listed in docs/data.md with its folder and where to get it', () => {
    const doc = readFileSync(new URL('../../docs/data.md', import.meta.url), 'utf8').split('\n')
    for (const [name, { url, folder }] of Object.entries(datasets)) {
      const line = doc.find((text) => text.startsWith('| `') && text.includes(`\`${name}\``))
      assert.ok(line?.includes(url) && line.includes(`\`${folder}\``), `${name}: ${url}, ${folder}`)
    }
  })

  test('of tokens has a vocabulary of bytes and names its classes', () => {
    const all: readonly Dataset[] = Object.values(datasets)
    for (const { kind, vocab, classes } of all.filter((dataset) => dataset.kind === 'tokens')) {
      assert.ok(vocab! <= 256 && classes.length > 1, kind)
    }
  })
})
