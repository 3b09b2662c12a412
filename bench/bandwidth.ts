/** How fast this machine reads memory: one thread for each core, each reading a block of its own from end to end. */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import openWabt from 'wabt'

/** Reads as many bytes as it was made for; gives the seconds, and ends its threads. */
export interface MemoryReader {
  readonly bytes: number
  read(): Promise<number>
  close(): Promise<void>
}

/** 128 bytes at a time into four sums, so that loads do not wait for each other. */
const source = `(module
  (import "host" "memory" (memory 1 65536))
  (func (export "read") (param $p i32) (param $n i32) (result i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (loop $next
${['a', 'b', 'c', 'd', 'a', 'b', 'c', 'd']
  .map((sum, i) => `(local.set $${sum} (v128.xor (local.get $${sum}) (v128.load offset=${16 * i} (local.get $p))))`)
  .join('\n')}
      (local.set $p (i32.add (local.get $p) (i32.const 128)))
      (local.set $n (i32.sub (local.get $n) (i32.const 128)))
      (br_if $next (local.get $n)))
    (i32x4.extract_lane 0 (v128.xor (v128.xor (local.get $a) (local.get $b)) (v128.xor (local.get $c) (local.get $d))))))`

/** What each thread runs: it fills its block, so that every page is there, and then reads it when it is asked to. */
const thread = `
const { parentPort, workerData: { code, bytes } } = require('node:worker_threads')
const memory = new WebAssembly.Memory({ initial: bytes / 65536, maximum: bytes / 65536 })
new Float32Array(memory.buffer).fill(1)
const { read } = new WebAssembly.Instance(new WebAssembly.Module(code), { host: { memory } }).exports
parentPort.on('message', () => parentPort.postMessage(read(0, bytes)))
parentPort.postMessage(0)`

/** @param bytes read in one go by all threads together; rounded up to whole pages for each of them. */
export async function openMemoryReader(bytes: number): Promise<MemoryReader> {
  const wabt = await openWabt()
  const module = wabt.parseWat('read.wat', source, { simd: true })
  const code = module.toBinary({}).buffer
  module.destroy()
  const threads = availableParallelism()
  const each = Math.ceil(bytes / threads / 65536) * 65536
  const workers = Array.from(
    { length: threads },
    () => new Worker(thread, { eval: true, workerData: { code, bytes: each } }),
  )
  const answers = () => Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
  await answers()
  return {
    bytes: each * threads,
    async read() {
      const done = answers()
      const start = performance.now()
      for (const worker of workers) worker.postMessage(0)
      await done
      return (performance.now() - start) / 1000
    },
    async close() {
      for (const worker of workers) await worker.terminate()
    },
  }
}
