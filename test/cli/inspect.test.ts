/** `hedgehog inspect` as a person meets it: results, wrong usage, Ctrl-C. */

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { random } from '../../src/base/random.ts'
import { hedgehog } from './hedgehog.ts'

const model = fileURLToPath(new URL('../fixtures/gpt2-tiny', import.meta.url))
let folder = ''
const at = (...parts: readonly string[]) => join(folder, ...parts)

const files = async (path: string) => (await readdir(path, { recursive: true }).catch(() => [])).sort()
const inspecting = (...more: readonly string[]) => [
  ...['inspect', model, '--data', at('one.txt'), '--lengths', '4,8,20', '--tokens', '40'],
  ...['--distill-data', at('train.txt'), '--distill-steps', '3', ...more],
]

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-inspect-'))
  const rng = random(1)
  const words = 'the old house stands near a quiet river and its door is green'.split(' ')
  const text = (lines: number) =>
    Array.from({ length: lines }, () => Array.from({ length: 9 }, () => words[rng.integer(words.length)]).join(' '))
  for (const [name, lines] of Object.entries({ 'one.txt': 20, 'two.txt': 20, 'train.txt': 80 })) {
    await writeFile(at(name), `${text(lines).join('\n')}\n`)
  }
})
after(() => rm(folder, { recursive: true, force: true }))

test('a table in the terminal, one line of JSON for machines, and a page with its data in the folder', async () => {
  const argv = inspecting('--maps', 'elu,hedgehog', '--data', at('two.txt'), '--out', at('out'))
  const { code, out, err } = await hedgehog(argv)
  assert.equal(code, 0, err)
  for (const line of out.split('\n')) assert.ok(line.length <= 80 || line.includes('inspect.html'), line)
  assert.match(out, /^hedgehog-exp +2d /m)
  assert.deepEqual(await files(at('out')), ['inspect.html', 'inspect.json'])
  const stored = JSON.parse(await readFile(at('out/inspect.json'), 'utf8'))
  const { last } = await hedgehog([...argv, '--force', '--json'])
  const value = JSON.parse(last)
  assert.deepEqual(value.rows, stored.rows)
  assert.deepEqual(
    value.texts.map(({ name }: { name: string }) => name),
    ['one.txt', 'two.txt'],
  )
  assert.ok(stored.shown.length > 0 && value.shown === undefined)
})

describe('wrong usage ends with 2 and one line, and writes nothing', () => {
  const cases: readonly [string, () => readonly string[], RegExp][] = [
    ['an unknown map', () => inspecting('--maps', 'elu,nope'), /--maps: .*nope, want one of hedgehog, /],
    ['an unknown property', () => inspecting('--properties', 'kl,spiky'), /--properties: got spiky, want one of kl, /],
    ['a length past a map', () => inspecting('--maps', 'cosformer:8'), /cosformer:8: got a length of 20, want at most/],
    ['too little text', () => inspecting('--maps', 'elu', '--lengths', '9999'), /one\.txt: too little text/],
    [
      'no text to distil on',
      () => ['inspect', model, '--data', at('one.txt')],
      /--distill-data is missing.*--distill-steps 0/,
    ],
    [
      'text that is both distilled and measured on',
      () => inspecting('--data', at('train.txt'), '--maps', 'hedgehog'),
      /--distill-data: .*train\.txt is measured on too/,
    ],
    ['a folder with files', () => inspecting('--out', folder), /is not empty .*; choose another folder, or --force/],
  ]
  for (const [what, argv, message] of cases) {
    test(what, async () => {
      const { code, out, err } = await hedgehog(argv())
      assert.match(err, message)
      assert.match(err, /^hedgehog: [^\n]{10,}\n$/)
      assert.deepEqual([code, out], [2, ''])
    })
  }
})

test('Ctrl-C writes no result; distilled maps are kept, and the printed command goes on to the same result', async () => {
  const argv = inspecting('--maps', 'hedgehog,t2r-hh', '--out', at('kept'), '--json')
  const stopped = await hedgehog(argv, ({ phase }, interrupt) => phase === 'distill t2r-hh' && interrupt())
  assert.equal(stopped.code, 130)
  assert.match(stopped.err, /saved in .*kept\/work; go on with: hedgehog inspect /)
  assert.ok((await files(at('kept'))).every((name) => name.startsWith('work')))
  const phases: (string | undefined)[] = []
  const { code, last, err } = await hedgehog(argv, ({ phase }) => phases.push(phase))
  assert.equal(code, 0, err)
  assert.ok(!phases.includes('distill hedgehog-exp'), 'what was distilled is not distilled again')
  const straight = await hedgehog(inspecting('--maps', 'hedgehog,t2r-hh', '--json'))
  assert.deepEqual(JSON.parse(last).rows, JSON.parse(straight.last).rows)
  assert.deepEqual(await files(at('kept')), ['inspect.html', 'inspect.json'])
})

test('Ctrl-C without a folder says that nothing was saved', async () => {
  const stopped = await hedgehog(inspecting('--maps', 'elu', '--json'), (_record, interrupt) => interrupt())
  assert.equal(stopped.code, 130)
  assert.match(stopped.err, /measure \d+ tokens: stopped after .*; nothing was saved/)
})
