/** `hedgehog convert` of a model within a memory, beside the same in memory. */

import assert from 'node:assert/strict'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { random } from '../../src/base/random.ts'
import { openModelFiles } from '../../src/models/files.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { near } from '../tensors.ts'
import { hedgehog } from './hedgehog.ts'

let folder = ''
const at = (...parts: readonly string[]) => join(folder, ...parts)

async function succeeds(argv: readonly string[]) {
  const found = await hedgehog([...argv, '--json'])
  assert.equal(found.code, 0, found.err)
  return { ...found, value: JSON.parse(found.out.trimEnd().split('\n').at(-1)!) }
}

const lora = ['--lora', 'rank=2', '--finetune-steps', '3']
const conversion = (out: string, ...more: readonly string[]) => [
  ...['convert', at('model'), '--data', at('text.txt'), '--out', at(out), '--length', '8', '--batch', '2'],
  ...['--compare', 'elu', '--distill-steps', '4', '--finetune-lr', '0.01', ...more],
]
const weights = (out: string) => readFile(at(out, 'model.safetensors'), 'latin1')

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-convert-'))
  const rng = random(1)
  const words = 'the old house stands near a quiet river and its door is green'.split(' ')
  const line = () => Array.from({ length: 9 }, () => words[rng.integer(words.length)]).join(' ')
  await writeFile(at('text.txt'), `${Array.from({ length: 60 }, line).join('\n')}\n`)
  const shape = '--layers 3 --width 8 --heads 2 --length 16 --vocab 270 --batch 2 --steps 2'.split(' ')
  await succeeds(['train', '--family', 'llama', '--data', at('text.txt'), '--out', at('trained'), ...shape])
  // As large models are stored.
  await cp(at('trained'), at('model'), { recursive: true })
  await saveModel(folderSink(at('model')), await loadModel(folderSource(at('trained'))), { dtype: 'float16' })
})
after(() => rm(folder, { recursive: true, force: true }))

describe('hedgehog convert --memory', () => {
  it('gives the scores and the weights of the conversion in memory, after telling its plan', async () => {
    const want = await succeeds(conversion('whole', ...lora))
    const got = await succeeds(conversion('narrow', ...lora, '--memory', '400MB'))
    assert.match(got.err, /memory: 3\d\d MB of 400 MB: program 350 MB, .*what learns/)
    const names = want.value.rows.map(({ name }: { name: string }) => name)
    assert.deepEqual(names, [
      ...['teacher', 'teacher-finetuned', 'untrained', 'hedgehog-distilled', 'hedgehog', 'elu-untrained', 'elu'],
    ])
    for (const [i, row] of want.value.rows.entries()) {
      for (const score of ['loss', 'kl', 'entropy', 'monotonicity']) {
        const [is, should] = [got.value.rows[i][score], row[score]]
        assert.equal(typeof is, typeof should)
        if (should !== undefined) assert.ok(Math.abs(is - should) < 1e-5, `${row.name}: ${score} ${is}, want ${should}`)
      }
    }
    const { maps, weightCurves, model } = JSON.parse(await readFile(at('narrow', 'report.json'), 'utf8'))
    assert.deepEqual([maps.length, weightCurves.length, model.parameters], [4, 4, want.value.model.parameters])
    const [a, b] = [await loadModel(folderSource(at('whole'))), await loadModel(folderSource(at('narrow')))]
    assert.equal(b.config.adapter, undefined)
    assert.deepEqual(Object.keys(b.params).sort(), Object.keys(a.params).sort())
    for (const [path, array] of Object.entries(a.params)) near(b.params[path], array, 1e-5, path)
  })

  it('stores what was merged in full, and all other weights as they were', async () => {
    const files = await openModelFiles(folderSource(at('narrow')))
    for (const path of files.paths) {
      const own = /feature_map|_proj\.weight$/.test(path) && !path.includes('mlp')
      assert.equal(files.dtype(path), own ? 'F32' : 'F16', path)
    }
  })

  it('goes on after Ctrl-C in each stage to the same model and report', async () => {
    const small = ['--memory', '400MB', ...lora]
    for (const [phase, step] of [
      ['distill hedgehog-distilled', 2],
      ['finetune hedgehog', 1],
      ['score elu-untrained', 1],
    ]) {
      const argv = conversion(`stopped-${step}-${phase}`, ...small, '--checkpoint-every', '1')
      const stopped = await hedgehog([...argv, '--json'], (record, stop) => {
        if (record.phase === phase && record.step === step) stop()
      })
      assert.equal(stopped.code, 130, stopped.err)
      const { value } = await succeeds([...argv, '--resume'])
      assert.equal(await weights(`stopped-${step}-${phase}`), await weights('narrow'))
      const plain = (rows: readonly object[]) => rows.map((row) => ({ ...row, seconds: 0 }))
      const { rows } = JSON.parse(await readFile(at('narrow', 'report.json'), 'utf8'))
      assert.deepEqual(plain(value.rows), plain(rows))
    }
  })

  it('distils alone where no step of finetuning is asked for, to the maps of the conversion in memory', async () => {
    const alone = ['--finetune-steps', '0', '--distill-updates', '2']
    await succeeds(conversion('maps', ...alone))
    await succeeds(conversion('maps-narrow', ...alone, '--memory', '400MB'))
    const [a, b] = [await loadModel(folderSource(at('maps'))), await loadModel(folderSource(at('maps-narrow')))]
    assert.deepEqual(b, a)
  })

  for (const [title, more, code, message] of [
    [
      'all weights',
      ['--memory', '400MB'],
      2,
      /^hedgehog: --memory: .* do not learn; pass --lora, or --finetune-steps 0\n$/,
    ],
    ['too little memory', ['--memory', '1MB', ...lora], 1, /memory: got 1\.0 MB, want at least 400 MB, which hold two/],
  ] as const) {
    it(`refuses ${title}, before it begins`, async () => {
      const found = await hedgehog(conversion('none', ...more))
      assert.match(found.err, message)
      assert.equal(found.code, code)
      assert.deepEqual(await readdir(at('none')).catch(() => []), [])
    })
  }

  it('says that a job was begun in memory', async () => {
    await hedgehog([...conversion('begun', ...lora), '--json'], ({ step }, stop) => step === 2 && stop())
    const found = await hedgehog(conversion('begun', ...lora, '--memory', '400MB', '--resume'))
    assert.match(found.err, /written by a job with other settings: .*streamed was undefined, now true/)
  })
})
