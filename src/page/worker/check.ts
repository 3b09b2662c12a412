/** Whether a device works here, and how long it takes to open. */

import { floats, sizeOf } from '../../base/array.ts'
import { random } from '../../base/random.ts'
import { matmul, softmax } from '../../graph/ops.ts'
import { compile } from '../../runtime/compile.ts'
import { usableThreads } from '../../web/engine.ts'
import type { WorkerJob } from './job.ts'

const [rows, inner, columns] = [5, 64, 33]

/** Opens the device and compares softmax(a b) with plain loops. */
export const check: WorkerJob<'check'> = async function* ({ device: name }, host) {
  const began = host.clock()
  yield { phase: `open ${name}`, step: 0, steps: 1, seconds: 0 }
  const device = await host.device(name)
  const opened = host.clock()
  const run = compile(device, ({ a, b }) => ({ y: softmax(matmul(a!, b!)) }))
  const drawn = random(0)
  const normal = (shape: readonly number[]) =>
    floats(
      shape,
      Float32Array.from({ length: sizeOf(shape) }, () => drawn.normal()),
    )
  const [a, b] = [normal([rows, inner]), normal([inner, columns])]
  const { y } = await run({ a, b })
  const runSeconds = host.clock() - opened
  await run.dispose()
  const want = expected(a.data, b.data)
  const error = want.reduce((most, value, i) => Math.max(most, Math.abs(value - y!.data[i]!)), 0)
  const threads = name === 'wasm' ? usableThreads() : 1
  return { device: name, threads, error, openSeconds: opened - began, runSeconds }
}

function expected(a: Float32Array, b: Float32Array): Float64Array {
  const y = new Float64Array(rows * columns)
  for (let i = 0; i < rows; i++) {
    const row = y.subarray(i * columns, (i + 1) * columns)
    for (let j = 0; j < columns; j++) for (let k = 0; k < inner; k++) row[j]! += a[i * inner + k]! * b[k * columns + j]!
    const most = row.reduce((x, z) => Math.max(x, z))
    const total = row.reduce((sum, x) => sum + Math.exp(x - most), 0)
    for (let j = 0; j < columns; j++) row[j] = Math.exp(row[j]! - most) / total
  }
  return y
}
