/** A place in bytes that moves as they are read, and does not leave them. Numbers are little-endian. */

/** Reads one value after the other. Every method throws an Error that says where, when the bytes end before it. */
export interface Cursor {
  /** The place of the next byte. */
  at: number
  /** Bytes that are left. */
  left(): number
  /** Passes over bytes. */
  skip(count: number): void
  /** The next bytes, as a view. */
  bytes(count: number): Uint8Array
  /** The next bytes as UTF-8. */
  text(bytes: number): string
  uint8(): number
  int8(): number
  uint16(): number
  int16(): number
  uint32(): number
  int32(): number
  /** 64 bits; infinite when no exact number, so that every check of a size refuses it. */
  uint64(): number
  int64(): number
  float32(): number
  float64(): number
}

/** The end of the bytes was met; more of the file may make good for it. */
export class CutOff extends Error {
  override readonly name = 'CutOff'
}

/** A cursor at the start of `bytes`. */
export function cursor(where: string, bytes: Uint8Array): Cursor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const take = (count: number): number => {
    const start = self.at
    if (!(count <= bytes.length - start)) {
      throw new CutOff(
        `${where}: at byte ${start}: want ${count} more bytes, got ${bytes.length - start}; it is cut off`,
      )
    }
    self.at += count
    return start
  }
  const exact = (value: bigint) => (Number.isSafeInteger(Number(value)) ? Number(value) : Number.POSITIVE_INFINITY)
  const self: Cursor = {
    at: 0,
    left: () => bytes.length - self.at,
    skip: (count) => void take(count),
    bytes: (count) => bytes.subarray(take(count), self.at),
    text: (count) => decoder.decode(self.bytes(count)),
    uint8: () => view.getUint8(take(1)),
    int8: () => view.getInt8(take(1)),
    uint16: () => view.getUint16(take(2), true),
    int16: () => view.getInt16(take(2), true),
    uint32: () => view.getUint32(take(4), true),
    int32: () => view.getInt32(take(4), true),
    uint64: () => exact(view.getBigUint64(take(8), true)),
    int64: () => exact(view.getBigInt64(take(8), true)),
    float32: () => view.getFloat32(take(4), true),
    float64: () => view.getFloat64(take(8), true),
  }
  return self
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
