import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { random } from '../../src/base/random.ts'
import { exportOptions } from '../../src/cli/optionTables.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { weightTypes } from '../../src/deploy/storage.ts'
import { exportTargets } from '../../src/deploy/targets.ts'
import { loadTokenizer } from '../../src/io/tokenizer.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { hedgehog as commandLine } from './hedgehog.ts'

const source = folderSource(fileURLToPath(new URL('../fixtures/gpt2-tiny', import.meta.url)))
const folder = await mkdtemp(join(tmpdir(), 'hedgehog-export-'))
after(() => rm(folder, { recursive: true }))
const at = (...parts: readonly string[]) => join(folder, ...parts)

const { json: tokenizer } = await loadTokenizer(source)
const save = async (name: string, map: string) =>
  saveModel(folderSink(at(name)), linearize(await loadModel(source), map, random(0)), { tokenizer })
await save('converted', 'hedgehog')
await save('top-k', 'top-k:4')

const hedgehog = (argv: readonly string[], signals?: EventEmitter) => commandLine(argv, undefined, signals)

describe('export', () => {
  test('writes the model, its weights and its tokenizer, and says how near it is', async () => {
    const { code, out, err } = await hedgehog(['export', at('converted'), '--to', 'onnx', '--out', at('onnx')])
    assert.equal(code, 0, err)
    const files = ['config.json', 'generation_config.json', 'model.onnx', 'model.onnx_data', 'tokenizer.json']
    assert.deepEqual(await readdir(at('onnx')), [...files, 'tokenizer_config.json'])
    assert.match(
      out,
      /onnx\n {2}model\.onnx {7}[\d.]+ kB\n {2}model\.onnx_data {2}[\d.]+ kB\nlogits: within \de-\d|\d\.\de-\d /,
    )
    assert.ok(out.split('\n').every((line) => line.length <= 80 + folder.length))
  })

  test('writes the layout of transformers.js, and with --json the result as one line', async () => {
    const argv = ['export', at('converted'), '--to', 'transformers.js', '--dtype', 'int8', '--out', at('web'), '--json']
    const { code, out } = await hedgehog(argv)
    assert.equal(code, 0)
    const result = JSON.parse(out.trim().split('\n').at(-1)!)
    const paths = result.files.map(({ path }: { path: string }) => path)
    assert.deepEqual(paths, ['onnx/model_quantized.onnx', 'onnx/model_quantized.onnx_data'])
    assert.ok(result.exact.logits < 1e-3 && result.changed.kl >= 0)
    assert.deepEqual(await readdir(at('web', 'onnx')), ['model_quantized.onnx', 'model_quantized.onnx_data'])
    const config = JSON.parse(await readFile(at('web', 'config.json'), 'utf8'))
    assert.deepEqual(
      [config.model_type, config.layer_types.at(0), config.layer_types.at(-1)],
      ['qwen3_next', 'linear_attention', 'full_attention'],
    )
  })

  test('writes nothing of what cannot be exported, and leaves what was there', async () => {
    const { code, err } = await hedgehog(['export', at('top-k'), '--to', 'onnx', '--out', at('onnx'), '--force'])
    assert.equal(code, 1)
    assert.match(err, /^hedgehog: export: attention top-k:4 has no form in ONNX operators; want linear/)
    assert.ok((await readdir(at('onnx'))).includes('model.onnx'))
    const none = await hedgehog(['export', at('top-k'), '--to', 'fla', '--out', at('none')])
    assert.match(none.err, /^hedgehog: export: fla cannot hold a gpt2 model; want llama or mistral$/m)
    assert.deepEqual(await readdir(at('none')), [])
  })

  test('stops at Ctrl-C with nothing written', async () => {
    const signals = new EventEmitter()
    const running = hedgehog(['export', at('converted'), '--to', 'onnx', '--out', at('stopped')], signals)
    signals.emit('SIGINT')
    const { code } = await running
    assert.equal(code, 130)
    assert.deepEqual(await readdir(at('stopped')), [])
  })

  const wrong: readonly [string, readonly string[], RegExp][] = [
    ['no target', [], /--to/],
    ['an unknown target', ['--to', 'gguf'], /--to: got 'gguf', want .*onnx/],
    [
      'an option of another target',
      ['--to', 'lolcats', '--dtype', 'int4'],
      /^hedgehog: --dtype: --to lolcats does not take it/,
    ],
    [
      'the model as its own export',
      ['--to', 'onnx', '--out', at('converted')],
      /--out: .* is the model; choose another/,
    ],
    [
      'a folder with files',
      ['--to', 'onnx', '--out', at('top-k')],
      /is not empty .*; choose another folder, or --force/,
    ],
  ]
  for (const [what, argv, message] of wrong) {
    test(`answers ${what} with one line and exit code 2`, async () => {
      const { code, err } = await hedgehog(['export', at('converted'), ...argv])
      assert.equal(code, 2)
      assert.match(err, message)
    })
  }

  test('knows the targets and types of the library', () => {
    for (const name of Object.keys(exportTargets)) assert.equal(exportOptions.to.read(name, undefined), name)
    for (const type of weightTypes) assert.equal(exportOptions.dtype.read(type, undefined), type)
  })
})
