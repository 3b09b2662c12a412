/** Damage to files, and what every reader must make of it: tensors, or one line that says what is wrong, soon. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { sizeOf } from '../src/base/array.ts'
import { readAdapter } from '../src/io/adapters.ts'
import { openCheckpoint } from '../src/io/checkpoint.ts'
import type { Source } from '../src/io/files.ts'
import { openGguf } from '../src/io/gguf.ts'
import { modelFolder } from '../src/io/ggufFolder.ts'
import { readJsonObject } from '../src/io/json.ts'
import type { Checkpoint } from '../src/io/tensors.ts'
import { loadTokenizer } from '../src/io/tokenizer.ts'
import { type Files, folder } from './folder.ts'

/** A change of bytes: places are shares of a part of the file, so that they fit files of any length. */
type Edit =
  | { readonly kind: 'byte'; readonly at: number; readonly value: number }
  | { readonly kind: 'number'; readonly at: number; readonly value: bigint; readonly bytes: 2 | 4 | 8 }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'move'; readonly from: number; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly from: number; readonly at: number; readonly count: number }
  | { readonly kind: 'text'; readonly at: number; readonly value: string }
  /** Another value at a place in JSON. */
  | { readonly kind: 'value'; readonly at: number; readonly value: unknown }

/** Not fc.double, most of whose values are next to 0. */
const share = fc.nat(2 ** 20 - 1).map((n) => n / 2 ** 20)
const count = fc.integer({ min: 1, max: 64 })
const numbers = fc.constantFrom(
  0n,
  1n,
  0x7fn,
  0xffn,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
)
const texts = fc.constantFrom(
  '"',
  '\\',
  '{',
  '[',
  ',',
  ':',
  '-',
  '1e999',
  'null',
  '[[[[',
  '{"a":',
  '\u0000',
  '\n',
  '𐀀',
  '__proto__',
)

const edit: fc.Arbitrary<Edit> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('byte'), at: share, value: fc.nat(255) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('number'), at: share, value: numbers, bytes: fc.constantFrom(2, 4, 8) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut'), at: share }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('move'), from: share, at: share, count }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('insert'), from: share, at: share, count }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('text'), at: share, value: texts }) },
) as fc.Arbitrary<Edit>

const newValue = fc.record({ kind: fc.constant('value'), at: share, value: fc.jsonValue({ maxDepth: 2 }) })

const someOf = (change: fc.Arbitrary<Edit>) => fc.array(change, { minLength: 1, maxLength: 4 })

/** A few changes of a target's file: of its bytes or, where it is JSON, of its values. */
export function editsOf({ isJson = false }: Target): fc.Arbitrary<readonly Edit[]> {
  return isJson ? fc.oneof(someOf(edit), someOf(newValue as fc.Arbitrary<Edit>)) : someOf(edit)
}

/** The bytes with changes; `part` is where most of a format's claims stand. */
export function damaged(whole: Uint8Array, [start, end]: readonly [number, number], list: readonly Edit[]): Uint8Array {
  let bytes = Buffer.from(whole)
  const place = (at: number) => Math.min(start + Math.floor(at * (end - start)), Math.max(0, bytes.length - 1))
  for (const change of list) {
    const at = place(change.at)
    if (bytes.length === 0) break
    if (change.kind === 'byte') bytes[at] = change.value
    else if (change.kind === 'value') bytes = withValue(bytes, change.at, change.value)
    else if (change.kind === 'cut') bytes = bytes.subarray(0, at)
    else if (change.kind === 'text')
      bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(change.value), bytes.subarray(at)])
    else if (change.kind === 'number') {
      for (let i = 0; i < change.bytes && at + i < bytes.length; i++)
        bytes[at + i] = Number((change.value >> BigInt(8 * i)) & 0xffn)
    } else {
      const from = bytes.subarray(place(change.from), place(change.from) + change.count)
      const rest = bytes.subarray(at + (change.kind === 'move' ? from.length : 0))
      bytes = Buffer.concat([bytes.subarray(0, at), from, rest])
    }
  }
  return new Uint8Array(bytes)
}

/** JSON with one of its values replaced. */
function withValue(bytes: Buffer, at: number, value: unknown): Buffer<ArrayBuffer> {
  const root: unknown = JSON.parse(bytes.toString())
  const places: [Record<string, unknown>, string][] = []
  const left = [root]
  for (const node of left) {
    if (typeof node !== 'object' || node === null) continue
    for (const [key, inner] of Object.entries(node)) {
      places.push([node as Record<string, unknown>, key])
      left.push(inner)
    }
  }
  const [holder, key] = places[Math.floor(at * places.length)] ?? [{}, '']
  holder[key] = value
  return Buffer.from(JSON.stringify(root))
}

/** A real small file, and all that is ever read of it. */
export interface Target {
  readonly files: Files
  /** The file that is damaged. */
  readonly path: string
  /** Where its claims stand: the header, say. */
  readonly part: readonly [number, number]
  readonly isJson?: boolean
  read(source: Source): Promise<void>
}

const fixture = (path: string) => new Uint8Array(readFileSync(`test/fixtures/${path}`))

/** The most values that a damaged file of a few thousand bytes may become. */
const mostValues = 2 ** 22

async function readAll(checkpoint: Checkpoint): Promise<void> {
  for (const name of checkpoint.names) {
    const shape = checkpoint.shape(name)
    try {
      const array = await checkpoint.tensor(name)
      assert.deepEqual(array.shape, shape)
      assert.ok(sizeOf(shape) <= mostValues, `${name} of shape [${shape}]`)
      assert.equal(array.data.length, sizeOf(shape))
    } catch (error) {
      // A tensor that cannot be had does not hide those after it.
      checkError(error)
    }
  }
}

const weights = (name: string, file: string, part: readonly [number, number]): Target => ({
  files: { [name]: fixture(file) },
  path: name,
  part,
  read: async (source) => readAll(await openCheckpoint(source)),
})

const json = (path: string, files: Files, read: Target['read']): Target => {
  return { files, path, part: [0, files[path]!.length], isJson: true, read }
}

const plain = fixture('torch/plain.bin')
const shardIndex = new TextEncoder().encode(
  JSON.stringify({
    metadata: { total_size: 28, made_by: 'a person who writes more than a program has to read' },
    weight_map: { scalar: 'a.bin', w: 'b.bin' },
  }),
)
const tokenize = async (source: Source): Promise<void> => {
  const tokenizer = await loadTokenizer(source)
  try {
    tokenizer.decode(tokenizer.encode('The hedgehog, 12 of <|endoftext|>'))
  } catch (error) {
    checkError(error)
  }
}

/** Every format, by name. */
export const targets: Readonly<Record<string, Target>> = {
  safetensors: weights('model.safetensors', 'gpt2-tiny/model.safetensors', [0, 2600]),
  'safetensors, small': weights('model.safetensors', 'adapter/adapter_model.safetensors', [0, 1200]),
  'torch, pickle': weights('pytorch_model.bin', 'torch/plain.bin', [0, 2200]),
  'torch, directory': weights('pytorch_model.bin', 'torch/plain.bin', [plain.length - 1300, plain.length]),
  'torch, deflated': weights('pytorch_model.bin', 'torch/deflated.bin', [0, fixture('torch/deflated.bin').length]),
  'torch, protocol 4': weights('pytorch_model.bin', 'torch/protocol4.bin', [0, 2200]),
  'torch, nested': weights('pytorch_model.bin', 'torch/nested.bin', [0, 1698]),
  'gguf, types': {
    ...weights('m.gguf', 'gguf/types.gguf', [0, 1600]),
    read: async (source) => readAll(await openGguf(source, 'm.gguf')),
  },
  'gguf, llama': {
    files: { 'm.gguf': fixture('gguf/llama.gguf') },
    path: 'm.gguf',
    part: [0, 8000],
    async read(source) {
      const model = await modelFolder(source)
      for (const file of ['config.json', 'tokenizer_config.json']) await readJsonObject(model, file).catch(checkError)
      await tokenize(model).catch(checkError)
      await readAll(await openCheckpoint(model))
    },
  },
  'tokenizer.json': json('tokenizer.json', { 'tokenizer.json': fixture('gpt2-tiny/tokenizer.json') }, tokenize),
  'index of shards': json(
    'pytorch_model.bin.index.json',
    { 'pytorch_model.bin.index.json': shardIndex, 'a.bin': plain, 'b.bin': fixture('torch/nested.bin') },
    async (source) => readAll(await openCheckpoint(source)),
  ),
  'adapter_config.json': json(
    'adapter_config.json',
    {
      'adapter_config.json': fixture('adapter/adapter_config.json'),
      'adapter_model.safetensors': fixture('adapter/adapter_model.safetensors'),
    },
    async (source) => void (await readAdapter(source)),
  ),
}

/** Fails unless it is an Error of one readable line that names the place. */
export function checkError(error: unknown): void {
  assert.ok(error instanceof Error, String(error))
  if (error instanceof assert.AssertionError) throw error
  assert.match(error.message, /^memory[:/][^\n\r\0]{1,1000}$/, error.stack ?? '')
}

/** What came of one damaged file. */
export interface Outcome {
  readonly result: 'read' | 'refused'
  /** Of the processor, so that a busy machine does not count. */
  readonly milliseconds: number
}

/** Reads a target with one file damaged. @throws AssertionError when it ends otherwise than it must. */
export async function outcomeOf({ files, path, part, read }: Target, list: readonly Edit[]): Promise<Outcome> {
  const bytes = damaged(files[path]!, part, list)
  const memory = folder({ ...files, [path]: bytes })
  let asked = 0
  const watched: Source = {
    ...memory,
    read(name, start, end) {
      asked += (end ?? bytes.length) - (start ?? 0)
      return memory.read(name, start, end)
    },
  }
  const began = process.cpuUsage()
  let result: Outcome['result'] = 'read'
  try {
    await read(watched)
  } catch (error) {
    checkError(error)
    result = 'refused'
  }
  assert.ok(asked < 2 ** 22, `${asked} bytes were read of ${bytes.length}`)
  const { user, system } = process.cpuUsage(began)
  return { result, milliseconds: (user + system) / 1000 }
}
