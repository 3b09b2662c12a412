/** Reads what PyTorch saves: a zip archive with a pickle of tensor descriptions, and one member per storage. */

import { type FloatArray, floats, sizeOf } from '../base/array.ts'
import { type Encoding, encodedBytes, floatEncodings, readValues } from './encodings.ts'
import type { Source } from './files.ts'
import { checkName } from './names.ts'
import { type Pickled, printable, readPickle } from './pickle.ts'
import type { Checkpoint } from './tensors.ts'
import { isTensor, type TorchTensor, torchNames, torchStorage } from './torchPickle.ts'
import { openZip, type ZipMember } from './zip.ts'

/** The largest description of tensors that is read, in bytes; real ones have some 200 bytes a tensor. */
const pickleLimit = 2 ** 25

/** The most bytes of a compressed storage; PyTorch itself does not compress. */
const inflatedLimit = 2 ** 32

/** Keys under which training programs keep a model's tensors beside other things. */
const nestings = ['state_dict', 'model_state_dict', 'model', 'module'] as const

/**
 * Opens a `pytorch_model.bin` or another file of `torch.save` (PyTorch 1.6 or later): reads the descriptions of its
 * tensors, running nothing, and no tensor. Values of a dictionary that are no tensors are left out.
 * @throws Error naming the file and what is wrong with it, or what its pickle asks for that is not allowed.
 */
export async function openTorch(source: Source, path: string): Promise<Checkpoint> {
  const where = `${source.name}/${path}`
  const members = await openMembers(source, path, where)
  const pickle = [...members.keys()].find((name) => /(^|\/)data\.pkl$/.test(name))
  if (pickle === undefined) throw new Error(`${where}: has no data.pkl, so it is no checkpoint of PyTorch`)
  const folder = pickle.slice(0, -'data.pkl'.length)
  if (members.has(`${folder}constants.pkl`)) {
    throw new Error(`${where}: is a TorchScript program, want a file of tensors: torch.save(model.state_dict(), …)`)
  }
  await checkByteOrder(where, members.get(`${folder}byteorder`))
  const bytes = await readMember(where, members.get(pickle)!, pickleLimit)
  const tensors = stateDict(where, readPickle(where, bytes, { names: torchNames, persistent: torchStorage }))
  const entry = (name: string): TorchTensor => {
    const found = tensors.get(name)
    if (found) return found
    throw new Error(`${where}: has no tensor ${name}`)
  }
  for (const [name, tensor] of tensors) storageOf(`${where}: ${name}`, members, folder, tensor)
  return {
    names: [...tensors.keys()],
    shape: (name) => entry(name).shape,
    dtype: (name) => entry(name).storage.dtype,
    async tensor(name) {
      const tensor = entry(name)
      const member = storageOf(`${where}: ${name}`, members, folder, tensor)
      return readTensor(`${where}: ${name}`, member, tensor)
    },
  }
}

async function openMembers(source: Source, path: string, where: string): Promise<ReadonlyMap<string, ZipMember>> {
  const first = await source.read(path, 0, Math.min(16, await source.size(path)))
  // The magic number of the format before PyTorch 1.6, a long integer in a pickle of protocol 2.
  const isLegacy = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc].every((byte, i) => first[i] === byte)
  if (isLegacy) throw new Error(`${where}: is of PyTorch before 1.6; load it in PyTorch and save it again`)
  return openZip(source, path)
}

async function readMember(where: string, member: ZipMember, limit: number): Promise<Uint8Array> {
  const { name, size, read } = member
  if (size > limit) throw new Error(`${where}: ${name}: got ${size} bytes, want at most ${limit}`)
  return read(0, size)
}

async function checkByteOrder(where: string, member: ZipMember | undefined): Promise<void> {
  if (!member) return
  const order = new TextDecoder().decode(await readMember(where, member, 16))
  if (order !== 'little') throw new Error(`${where}: got byte order ${JSON.stringify(order)}, want little`)
}

/** The tensors of a state dictionary, or of one that is kept beside other things. */
function stateDict(where: string, root: Pickled): ReadonlyMap<string, TorchTensor> {
  const inner = root instanceof Map ? nestings.map((key) => root.get(key)).find((found) => found instanceof Map) : null
  for (const candidate of [root, inner]) {
    if (!(candidate instanceof Map)) continue
    const tensors = new Map<string, TorchTensor>()
    for (const [name, value] of candidate as ReadonlyMap<Pickled, Pickled>) {
      if (typeof name === 'string' && isTensor(value)) tensors.set(checkName(where, name), value)
    }
    if (tensors.size > 0) return tensors
  }
  throw new Error(`${where}: holds no dictionary of tensors; save with torch.save(model.state_dict(), …)`)
}

/** The member with a tensor's values. @throws Error unless it is there and of the size that the pickle says. */
function storageOf(
  where: string,
  members: ReadonlyMap<string, ZipMember>,
  folder: string,
  { storage }: TorchTensor,
): ZipMember {
  const member = members.get(`${folder}data/${storage.key}`)
  if (!member) throw new Error(`${where}: its storage ${printable(storage.key)} is not in the file`)
  const want = storage.size * storage.bytes
  if (member.size !== want) {
    throw new Error(`${where}: got ${member.size} bytes, want ${want} for ${storage.size} values of ${storage.dtype}`)
  }
  if (member.deflated && member.size > inflatedLimit) {
    throw new Error(`${where}: inflates to ${member.size} bytes, want at most ${inflatedLimit}; save it uncompressed`)
  }
  return member
}

async function readTensor(where: string, member: ZipMember, tensor: TorchTensor): Promise<FloatArray> {
  const { storage, offset, shape, strides } = tensor
  const encoding = Object.hasOwn(floatEncodings, storage.dtype) ? floatEncodings[storage.dtype]! : undefined
  if (!encoding) {
    const known = Object.keys(floatEncodings).join(', ')
    throw new Error(`${where}: is stored as ${storage.dtype}, want one of ${known}`)
  }
  const count = sizeOf(shape)
  const span = spanOf(shape, strides)
  if (span > 64 * count + 2 ** 20) {
    throw new Error(`${where}: its ${count} values are spread over ${span}; save a contiguous copy`)
  }
  const values = await readSpan(member, encoding, offset, span)
  return floats(shape, isContiguous(shape, strides) ? values : gathered(values, shape, strides, count))
}

function readSpan(member: ZipMember, encoding: Encoding, offset: number, span: number) {
  // A compressed member is inflated from its start for every read, so it is read at once.
  return readValues(member.read, encoding, offset, span, member.deflated ? { piece: encodedBytes(encoding, span) } : {})
}

/** How far apart the first and the last value of a tensor lie in its storage, both included. */
export function spanOf(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0
  return shape.reduce((span, size, axis) => span + (size - 1) * strides[axis]!, 1)
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let next = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== next) return shape.includes(0)
    next *= shape[axis]!
  }
  return true
}

/** The values in row-major order. */
function gathered(values: Float32Array, shape: readonly number[], strides: readonly number[], count: number) {
  const result = new Float32Array(count)
  const [size, stride] = [shape.at(-1)!, strides.at(-1)!]
  const place = shape.map(() => 0)
  let from = 0
  for (let at = 0; at < count; ) {
    for (let i = 0; i < size; i++) result[at++] = values[from + i * stride]!
    for (let axis = shape.length - 2; axis >= 0; axis--) {
      from += strides[axis]!
      if (++place[axis]! < shape[axis]!) break
      from -= shape[axis]! * strides[axis]!
      place[axis] = 0
    }
  }
  return result
}
