/** Exports in the engines of browsers: ONNX Runtime as WebAssembly, and WebGPU where there is an adapter. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'
import * as ort from 'onnxruntime-web'
import { ints, type NDArray } from '../../src/base/array.ts'
import type { ExportOptions } from '../../src/deploy/target.ts'
import { openDevice } from '../../src/node/device.ts'
import type { Arrays, Session } from '../../src/runtime/device.ts'
import type { Files } from '../folder.ts'
import { near } from '../tensors.ts'
import { exported, llamaOf, openIn, signatures } from './exports.ts'

const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json'
if (existsSync(swiftShader) && !process.env.VK_DRIVER_FILES) process.env.VK_ICD_FILENAMES ??= swiftShader
process.env.XDG_RUNTIME_DIR ??= tmpdir()
const gpu = await openDevice('webgpu').catch((error: Error) => error)

ort.env.wasm.numThreads = 1

async function openWasm({ 'model.onnx': model, ...data }: Files): Promise<Session> {
  const externalData = Object.entries(data).map(([path, bytes]) => ({ path, data: bytes }))
  const session = await ort.InferenceSession.create(model!, { executionProviders: ['wasm'], externalData })
  const types = new Map(session.inputMetadata.map((info) => [info.name, info.isTensor ? info.type : '']))
  return {
    async run(inputs: Arrays) {
      const feeds = Object.entries(inputs).map(([name, { dtype, data: values, shape }]) => {
        const long = types.get(name) === 'int64'
        const tensor = long
          ? new ort.Tensor('int64', BigInt64Array.from(values, BigInt), shape)
          : new ort.Tensor(dtype as 'float32', values as Float32Array, shape)
        return [name, tensor]
      })
      const found = await session.run(Object.fromEntries(feeds))
      return Object.fromEntries(
        Object.entries(found).map(([name, { type, dims, data: values }]) => [
          name,
          { dtype: type, shape: dims, data: values } as NDArray,
        ]),
      )
    },
    dispose: () => session.release(),
  }
}

const { signature } = signatures.onnx
const pieces = [ints([2, 3], [1, 5, 9, 3, 3, 20]), ints([2, 1], [7, 40])]
const kept = [{ state: ['batch_size', 4, 17, 9] }]

/** The logits after a piece and a step, and the state after them. */
async function steps(session: Session): Promise<Arrays> {
  let past: Arrays | undefined
  let results: Arrays = {}
  for (const [i, ids] of pieces.entries()) {
    results = await session.run(signature.feeds({ kept } as never, ids, 3 * i, past))
    past = signature.next(results)
  }
  await session.dispose()
  return results
}

const cases: Readonly<Record<string, ExportOptions>> = {
  'by the operator, with 8 bits': { type: 'int8' },
  'decomposed, with 4 bits': { type: 'int4', attention: 'decomposed' },
}

describe('an export gives what it gives on the CPU', () => {
  for (const [title, options] of Object.entries(cases)) {
    it(`${title}, in WebAssembly and on WebGPU`, async (test) => {
      const { contents } = await exported(llamaOf('hedgehog'), 'onnx', options)
      const want = await steps(await openIn(contents, 'model.onnx'))
      const engines: [string, () => Promise<Session>][] = [['wasm', () => openWasm(contents)]]
      const { 'model.onnx': model, ...data } = contents
      if (gpu instanceof Error) test.diagnostic(gpu.message)
      else engines.push(['webgpu', () => gpu.open(model!, data)])
      for (const [name, open] of engines) {
        const got = await steps(await open())
        for (const [result, array] of Object.entries(want)) near(got[result], array, 1e-3, `${name}: ${result}`)
      }
    })
  }

  it('also where it is fed as transformers.js feeds it, on a cache without width', async () => {
    const { contents } = await exported(llamaOf('softmax'), 'transformers.js')
    const { 'model.onnx': model, ...data } = contents
    const of = signatures['transformers.js'].signature
    const shapes = [{ key: ['batch_size', 4, 'past_length', 8], value: ['batch_size', 4, 'past_length', 8] }]
    const opened = [await openIn(contents, 'model.onnx'), await openWasm(contents)]
    if (!(gpu instanceof Error)) opened.push(await gpu.open(model!, data))
    const all: Arrays[] = []
    for (const session of opened) {
      const first = await session.run(of.feeds({ kept: shapes } as never, pieces[0]!, 0))
      all.push(await session.run(of.feeds({ kept: shapes } as never, pieces[1]!, 3, of.next(first))))
      await session.dispose()
    }
    for (const got of all) {
      near(got.logits, all[0]!.logits!, 1e-3, 'logits')
      assert.deepEqual([...got['present.1.key']!.shape], [2, 1, 4, 0])
    }
  })
})
