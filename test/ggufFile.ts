/** Small GGUF files for tests, whose claims need not be true. */

/** A float32 tensor, and lies about it. */
export interface TestTensor {
  readonly values: readonly number[]
  readonly shape?: readonly (number | bigint)[]
  readonly type?: number
  readonly start?: number | bigint
  readonly name?: string
}

/** A GGUF file with float32 tensors and metadata of texts, lists of texts and numbers; `claims` are lies. */
export function ggufFile({
  pairs = {},
  tensors = {},
  claims = {},
}: {
  pairs?: Record<string, string | number | readonly string[]>
  tensors?: Record<string, TestTensor>
  claims?: { tensors?: bigint; pairs?: bigint; type?: number; count?: bigint }
}): Uint8Array {
  const parts: Buffer[] = []
  const u32 = (value: number) => parts.push(Buffer.from(Uint32Array.of(value).buffer))
  const u64 = (value: number | bigint) => parts.push(Buffer.from(BigUint64Array.of(BigInt(value)).buffer))
  const text = (value: string) => u64(Buffer.byteLength(value)) && parts.push(Buffer.from(value))
  parts.push(Buffer.from('GGUF'))
  u32(3)
  u64(claims.tensors ?? Object.keys(tensors).length)
  u64(claims.pairs ?? Object.keys(pairs).length)
  for (const [key, value] of Object.entries(pairs)) {
    text(key.replace(/#.*/, ''))
    if (typeof value === 'string') u32(claims.type ?? 8) && text(value)
    else if (typeof value === 'number') u32(4) && u32(value)
    else {
      u32(9)
      u32(claims.type ?? 8)
      u64(claims.count ?? value.length)
      for (const item of value) text(item)
    }
  }
  const data: Buffer[] = []
  let at = 0
  for (const [name, { values, shape = [values.length], type = 0, start = at, name: other }] of Object.entries(
    tensors,
  )) {
    text(other ?? name)
    u32(shape.length)
    for (const size of shape.toReversed()) u64(size)
    u32(type)
    u64(start)
    const bytes = Buffer.alloc(Math.ceil(values.length / 8) * 32)
    Buffer.from(Float32Array.from(values).buffer).copy(bytes)
    data.push(bytes)
    at += bytes.length
  }
  const header = Buffer.concat(parts)
  return new Uint8Array(Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), ...data]))
}
