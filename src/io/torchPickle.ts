/** What a pickle of PyTorch may ask for: descriptions of tensors and storages, and ordered dictionaries. */

import { sizeOf } from '../base/array.ts'
import type { Pickled, PickledFunction, PickledObject } from './pickle.ts'

/** Where a storage is kept, and what it holds. */
export interface TorchStorage extends PickledObject {
  readonly kind: 'storage'
  /** The name of its member in the archive. */
  readonly key: string
  /** The code that safetensors has for the dtype. */
  readonly dtype: string
  /** Bytes of a value. */
  readonly bytes: number
  /** The number of values. */
  readonly size: number
}

/** A view of a storage: value [i, j, …] is at `offset + i strides[0] + j strides[1] + …`. */
export interface TorchTensor extends PickledObject {
  readonly kind: 'tensor'
  readonly storage: TorchStorage
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

interface StorageType extends PickledObject {
  readonly kind: 'storage type'
  readonly dtype: string
  readonly bytes: number
}

const storageType = (dtype: string, bytes: number): StorageType => ({ kind: 'storage type', dtype, bytes })

const callable = (call: PickledFunction['call']): PickledFunction => ({ kind: 'function', call })

/** Every name that is allowed; each stands for plain data, or makes plain data. */
export const torchNames: Readonly<Record<string, PickledObject>> = {
  'torch.DoubleStorage': storageType('F64', 8),
  'torch.FloatStorage': storageType('F32', 4),
  'torch.HalfStorage': storageType('F16', 2),
  'torch.BFloat16Storage': storageType('BF16', 2),
  'torch.LongStorage': storageType('I64', 8),
  'torch.IntStorage': storageType('I32', 4),
  'torch.ShortStorage': storageType('I16', 2),
  'torch.CharStorage': storageType('I8', 1),
  'torch.ByteStorage': storageType('U8', 1),
  'torch.BoolStorage': storageType('BOOL', 1),
  'torch._utils._rebuild_tensor': callable(tensor),
  'torch._utils._rebuild_tensor_v2': callable(tensor),
  'torch._utils._rebuild_parameter': callable(([data]) => checked(data)),
  'torch.Size': callable(([sizes]) => sizes ?? []),
  'collections.OrderedDict': callable(orderedDict),
}

/** The storage of a persistent id: `('storage', type, key, location, size)`. @throws Error when it is none. */
export function torchStorage(id: Pickled): TorchStorage {
  const [kind, type, key, , size] = Array.isArray(id) ? (id as readonly Pickled[]) : []
  if (kind !== 'storage' || !isObject<StorageType>(type, 'storage type'))
    throw new Error('a persistent id of no storage')
  if (typeof key !== 'string' || !isSize(size)) throw new Error('a storage without a name or a size')
  return { kind: 'storage', key, dtype: type.dtype, bytes: type.bytes, size }
}

/** Whether a value of a pickle is a tensor. */
export function isTensor(value: Pickled): value is TorchTensor {
  return isObject<TorchTensor>(value, 'tensor')
}

/** Arguments: storage, offset, sizes, strides, and others that do not matter here. */
function tensor([storage, offset, shape, strides]: readonly Pickled[]): TorchTensor {
  if (!isObject<TorchStorage>(storage, 'storage')) throw new Error('a tensor without a storage')
  if (!isSize(offset) || !isSizes(shape) || !isSizes(strides) || shape.length !== strides.length) {
    throw new Error('a tensor whose offset, sizes or strides are no numbers that fit')
  }
  const end = shape.reduce((last, size, axis) => last + (size - 1) * strides[axis]!, offset)
  if (!shape.includes(0) && !(end < storage.size)) {
    throw new Error(
      `a tensor of shape [${shape}] and strides [${strides}] that ends at ${end} of ${storage.size} values`,
    )
  }
  if (sizeOf(shape) > storage.size && sizeOf(shape) > mostExpanded) {
    throw new Error(`a tensor of shape [${shape}] over only ${storage.size} values`)
  }
  return { kind: 'tensor', storage, offset, shape, strides }
}

/** The most values of a tensor that repeats those of its storage. */
const mostExpanded = 2 ** 20

function checked(data: Pickled | undefined): TorchTensor {
  if (data !== undefined && isTensor(data)) return data
  throw new Error('a parameter without a tensor')
}

function orderedDict([pairs]: readonly Pickled[]): ReadonlyMap<Pickled, Pickled> {
  if (pairs === undefined) return new Map()
  const isPair = (pair: Pickled): pair is [Pickled, Pickled] => Array.isArray(pair) && pair.length === 2
  if (Array.isArray(pairs) && pairs.every(isPair)) return new Map(pairs)
  throw new Error('an ordered dictionary of what is no list of pairs')
}

function isObject<T extends PickledObject>(value: Pickled | undefined, kind: T['kind']): value is T {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind
}

function isSize(value: Pickled | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isSizes(value: Pickled | undefined): value is readonly number[] {
  return Array.isArray(value) && value.length <= 32 && value.every(isSize)
}
