import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { floats, ints, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { createBackward } from '../../src/execute/backward.ts'
import { createForward } from '../../src/execute/forward.ts'
import { fromFloat16 } from '../../src/io/half.ts'
import { bytesOf, openModelFiles, pathsOf, readOuter, saveFrom, storedBytesOf } from '../../src/models/files.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { llama } from '../../src/models/llama.ts'
import type { Model } from '../../src/models/model.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { streamedBlocks } from '../../src/node/streamedBlocks.ts'
import { adapterTrains, addLora } from '../../src/train/lora.ts'
import { noisyModel } from '../execute/tiny.ts'
import { device } from '../tensors.ts'

let folder = ''
let model: Model
const batch = {
  ids: ints([2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
  labels: ints([2, 5], [2, 3, 4, 5, 6, 7, 8, 9, 10, 1]),
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-streamed-'))
  const made = noisyModel(llama.configOf({ layers: 4, heads: 2, width: 8, vocab: 11, maxLength: 12 }))
  await saveModel(folderSink(folder), made, { dtype: 'float16' })
  model = await loadModel(folderSource(folder))
})
after(() => rm(folder, { recursive: true, force: true }))

const zeros = (params: Params, wanted: (path: string) => boolean) =>
  Object.fromEntries(
    Object.entries(params).flatMap(([path, { shape }]) => (wanted(path) ? [[path, floats(shape)] as const] : [])),
  )

describe('blocks from files', () => {
  for (const [resident, savedLayers] of [
    [0, 0],
    [1, 2],
    [4, 4],
  ] as const) {
    it(`with ${resident} that stay and values kept of ${savedLayers} give what the model in memory gives, to the bit`, async () => {
      const files = await openModelFiles(folderSource(folder))
      const blocks = streamedBlocks(folder, files.config, { resident })
      const outer = await readOuter(files)
      const [whole, streamed] = [createForward(device, model.config), createForward(device, model.config, { blocks })]
      for (let pass = 0; pass < 2; pass++) {
        assert.deepEqual(await streamed.hidden(outer, batch), await whole.hidden(model.params, batch))
      }
      // Those that stay are read once.
      if (resident === 4) assert.equal(blocks.reading().blocks, 4)

      const lora = addLora(model, { rank: 2 }, random(3))
      const part = addLora({ config: model.config, params: outer }, { rank: 2 }, random(3))
      for (const [path, { data }] of Object.entries(lora.params)) if (path.endsWith('lora_B.weight')) data.fill(0.3)
      for (const [path, { data }] of Object.entries(part.params)) if (path.endsWith('lora_B.weight')) data.fill(0.3)
      const trains = adapterTrains(lora.config)
      const [want, got] = [zeros(lora.params, trains), zeros(part.params, trains)]
      const how = { tokenWeight: 0.1, fresh: true }
      const memory = createBackward(device, lora.config, { saved: [] })
      const streaming = createBackward(device, part.config, { savedLayers, blocks })
      for (let step = 0; step < 2; step++) {
        const loss = await memory.accumulate(lora.params, want, batch, how)
        assert.equal(await streaming.accumulate(part.params, got, batch, how), loss)
        assert.deepEqual(got, want)
      }
      for (const opened of [whole, streamed, memory, streaming, blocks]) await opened.dispose()
    })
  }

  it('stay as they are stored where that is float16, unless they are not to', async () => {
    const stored = streamedBlocks(folder, model.config)
    const whole = streamedBlocks(folder, model.config, { float16: false })
    const path = 'mlp.up_proj.weight'
    for (const layer of [0, 1, 2, 3, 0]) {
      const [words, values] = [(await stored.block(layer))[path]!, (await whole.block(layer))[path]!]
      assert.deepEqual(values, model.params[`layers.${layer}.${path}`])
      assert.equal(words.dtype, 'float16')
      assert.deepEqual(fromFloat16(words.data as Uint16Array), values.data)
    }
    assert.equal(2 * stored.reading().bytes, whole.reading().bytes)
    for (const blocks of [stored, whole]) await blocks.dispose()
  })

  it('of which some are stored in more bits than others share their memory', async () => {
    const mixed = join(folder, 'mixed')
    const files = await openModelFiles(folderSource(folder))
    const dtype = (path: string) =>
      path.startsWith('layers.2.') ? 'BF16' : path.startsWith('layers.3.') ? 'F32' : 'F16'
    const { config, paths, shape, read } = files
    await saveFrom(folderSink(mixed), { config, paths, shape, read, dtype }, { config, params: {} })
    const stored = await openModelFiles(folderSource(mixed))
    const [half, whole] = [1, 2].map((layer) => storedBytesOf(stored, pathsOf(stored, layer))) as [number, number]
    assert.deepEqual([2 * half, whole], [whole, bytesOf(stored, pathsOf(stored, 2))])
    const want = await loadModel(folderSource(mixed))
    const blocks = streamedBlocks(mixed, config)
    for (const layer of [0, 2, 1, 3, 0, 1, 2]) {
      for (const [path, array] of Object.entries(await blocks.block(layer))) {
        const values = array.dtype === 'float16' ? fromFloat16(array.data as Uint16Array) : array.data
        assert.deepEqual(values, want.params[`layers.${layer}.${path}`]!.data)
      }
    }
    await blocks.dispose()
  })

  it('name a value that is not finite, in float16 too', async () => {
    const broken = join(folder, 'infinite')
    const file = 'model.safetensors'
    for (const name of ['config.json', file]) await cp(join(folder, name), join(broken, name))
    const bytes = await readFile(join(broken, file))
    const header = 8 + Number(bytes.readBigUInt64LE(0))
    const entries = JSON.parse(bytes.subarray(8, header).toString())
    const name = 'model.layers.1.mlp.up_proj.weight'
    bytes.writeUInt16LE(0xfc00, header + entries[name].data_offsets[0] + 6)
    await writeFile(join(broken, file), bytes)
    const blocks = streamedBlocks(broken, model.config)
    await assert.rejects(
      blocks.block(1),
      /infinite: model\.layers\.1\.mlp\.up_proj\.weight: value 3 is -Infinity, want finite/,
    )
    await blocks.dispose()
  })

  it('are written again with others beside them as they were stored', async () => {
    const files = await openModelFiles(folderSource(folder))
    const out = join(folder, 'copy')
    const added = { 'model.norm.weight': floats([8], new Float32Array(8).fill(2)) }
    const [path] = files.paths.filter((one) => one.endsWith('norm.weight') && !one.includes('layers'))
    await saveFrom(folderSink(out), files, { config: files.config, params: { [path!]: added['model.norm.weight']! } })
    const copy = await loadModel(folderSource(out))
    assert.deepEqual(copy.params, { ...model.params, [path!]: added['model.norm.weight'] })
    const again = await openModelFiles(folderSource(out))
    assert.deepEqual([...new Set(again.paths.map((one) => again.dtype(one)))].sort(), ['F16', 'F32'])
  })

  it('say what is wrong with a file that ends early', async () => {
    const broken = join(folder, 'broken')
    for (const file of ['config.json', 'model.safetensors']) await cp(join(folder, file), join(broken, file))
    const files = await openModelFiles(folderSource(broken))
    const blocks = streamedBlocks(broken, files.config)
    await blocks.block(0, 0)
    await blocks.dispose()
    await writeFile(join(broken, 'model.safetensors'), 'short')
    const late = streamedBlocks(broken, files.config)
    await assert.rejects(late.block(1), /model\.safetensors: got 5 bytes, want at least 8/)
    await late.dispose()
  })
})
