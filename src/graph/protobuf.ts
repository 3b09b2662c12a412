/** A writer for the protobuf wire format: the little of it that ONNX models use. */

/** Collects fields of one message; sub-messages are written by a callback. */
export class Message {
  readonly #parts: Uint8Array[] = []
  #length = 0

  /** A varint field; negative numbers take ten bytes, as int64 does. */
  int(field: number, value: number): this {
    return this.#varint(field * 8).#varint(value)
  }

  float(field: number, value: number): this {
    return this.#varint(field * 8 + 5).#push(new Uint8Array(Float32Array.of(value).buffer))
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#varint(field * 8 + 2)
      .#varint(value.length)
      .#push(value)
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value))
  }

  message(field: number, write: (message: Message) => void): this {
    const inner = new Message()
    write(inner)
    this.#varint(field * 8 + 2).#varint(inner.#length)
    for (const part of inner.#parts) this.#push(part)
    return this
  }

  /** The encoded message. */
  finish(): Uint8Array {
    const out = new Uint8Array(this.#length)
    let at = 0
    for (const part of this.#parts) {
      out.set(part, at)
      at += part.length
    }
    return out
  }

  #varint(value: number): this {
    let rest = BigInt.asUintN(64, BigInt(value))
    const bytes: number[] = []
    do {
      bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0))
      rest >>= 7n
    } while (rest > 0n)
    return this.#push(Uint8Array.from(bytes))
  }

  #push(part: Uint8Array): this {
    this.#parts.push(part)
    this.#length += part.length
    return this
  }
}
