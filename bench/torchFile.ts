/** Writes parameters as `torch.save` does, as far as hedgehog reads it: a zip archive with a pickle and one member each. */

import type { Params } from '../src/base/array.ts'

/** The parts of the file, in order. Check sums are left out, so that only readers that do not ask for them read it. */
export function* torchFile(params: Params): Generator<Uint8Array> {
  const members: readonly (readonly [string, Uint8Array])[] = [
    ['archive/data.pkl', pickle(params)],
    ...Object.values(params).map(({ data: { buffer, byteOffset, byteLength } }, key) => {
      return [`archive/data/${key}`, new Uint8Array(buffer, byteOffset, byteLength)] as const
    }),
  ]
  const list: Buffer[] = []
  let at = 0
  for (const [name, bytes] of members) {
    const own = Buffer.alloc(30)
    own.writeUInt32LE(0x04034b50)
    own.writeUInt16LE(name.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50)
    entry.writeUInt32LE(bytes.length, 20)
    entry.writeUInt32LE(bytes.length, 24)
    entry.writeUInt16LE(name.length, 28)
    entry.writeUInt32LE(at, 42)
    list.push(entry, Buffer.from(name))
    yield Buffer.concat([own, Buffer.from(name)])
    yield bytes
    at += own.length + name.length + bytes.length
  }
  const directory = Buffer.concat(list)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(members.length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(at, 16)
  yield Buffer.concat([directory, end])
}

/** A dictionary of tensors, protocol 2. */
function pickle(params: Params): Uint8Array {
  const parts: Buffer[] = []
  const raw = (text: string) => parts.push(Buffer.from(text, 'latin1'))
  const number = (value: number) => parts.push(Buffer.from('J'), Buffer.from(Int32Array.of(value).buffer))
  const text = (value: string) => {
    parts.push(Buffer.from('X'), Buffer.from(Uint32Array.of(Buffer.byteLength(value)).buffer), Buffer.from(value))
  }
  const tuple = (values: readonly number[]) => {
    raw('(')
    for (const value of values) number(value)
    raw('t')
  }
  raw('\x80\x02}(')
  for (const [key, [name, { shape, data }]] of Object.entries(params).entries()) {
    text(name)
    raw('ctorch._utils\n_rebuild_tensor_v2\n((')
    text('storage')
    raw('ctorch\nFloatStorage\n')
    text(`${key}`)
    text('cpu')
    number(data.length)
    raw('tQ')
    number(0)
    tuple(shape)
    tuple(shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1)))
    raw('\x89ccollections\nOrderedDict\n)RtR')
  }
  raw('u.')
  return Buffer.concat(parts)
}
