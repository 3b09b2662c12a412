/** What hedgehog asks of an engine: sessions from ONNX bytes that run on host arrays. */

import type { NDArray } from '../base/array.ts'

/** Named host arrays. */
export type Arrays = Readonly<Record<string, NDArray>>

/** A compiled graph. */
export interface Session {
  /**
   * Runs the graph. Results named in `into` are written to the arrays given there, in place; where the engine cannot,
   * they are copied. The caller must not change inputs while it runs.
   */
  run(inputs: Arrays, into?: Arrays): Promise<Arrays>
  /** Frees the session; idempotent. */
  dispose(): Promise<void>
}

/** An execution provider of ONNX Runtime on this machine. */
export interface Device {
  /** For reports, e.g. `cpu` or `webgpu`. */
  readonly name: string
  /**
   * @param files the contents of the files that weights of the model are in, by name; they must not change afterwards
   * @throws Error with the engine's reason when the model is not accepted.
   */
  open(model: Uint8Array, files?: Readonly<Record<string, Uint8Array>>): Promise<Session>
  /**
   * Promises that these arrays stay as they are until the function it returns is called, so that a device with memory of
   * its own copies them once and not with each run. They are known by their `data`. A device that reads the host's
   * memory has no need of it and may lack it: `device.keep?.(arrays)`.
   */
  keep?(arrays: Iterable<NDArray>): () => void
}
