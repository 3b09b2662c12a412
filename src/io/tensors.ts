/** What every format of checkpoints is read as. */

import type { FloatArray, NDArray } from '../base/array.ts'

/** An open checkpoint: what is in it, and its tensors on demand, each read by range. */
export interface Checkpoint {
  /** Tensor names in the order of the file. */
  readonly names: readonly string[]
  /** The shape of a tensor. @throws Error when there is no such tensor. */
  shape(name: string): readonly number[]
  /** What a tensor is stored as, e.g. `BF16` or `Q4_K`. @throws Error when there is no such tensor. */
  dtype(name: string): string
  /**
   * A tensor as float32.
   * @param into memory that may be used for its values, of as many or more; formats that cannot leave it alone
   * @throws Error when there is no such tensor, or none of floating-point numbers.
   */
  tensor(name: string, into?: Float32Array<ArrayBuffer>): Promise<FloatArray>
  /**
   * A float16 tensor as its words; formats whose files have none of them lack it.
   * @param into memory that may be used for them, of as many or more
   */
  words?(name: string, into?: Uint16Array<ArrayBuffer>): Promise<NDArray>
}
