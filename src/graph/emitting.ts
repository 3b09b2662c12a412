/** What rules of operators are written with: attributes by name, and ONNX names of values. */

import type { Emitter } from './operator.ts'
import type { Attrs } from './tensor.ts'

/** An attribute that is a list of numbers. */
export const numbers = (attrs: Attrs, name: string): readonly number[] => attrs[name] as readonly number[]
/** An attribute that is a number. */
export const number = (attrs: Attrs, name: string): number => attrs[name] as number
/** The ONNX names of values. */
export const names = (emitter: Emitter, ids: readonly number[]): string[] => ids.map((id) => emitter.name(id))
