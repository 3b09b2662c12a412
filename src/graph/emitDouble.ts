/** float64 forms of operators for which ONNX Runtime has only float32 kernels. */

import type { Emitter } from './operator.ts'

/** One more ONNX node; returns the name of its result. */
export function step(emitter: Emitter, op: string, ...inputs: string[]): string {
  const out = emitter.temporary()
  emitter.push(op, inputs, [out])
  return out
}

/** Layer normalisation in small steps: ONNX Runtime's own keeps float32 statistics for float64 inputs. */
export function emitDoubleNorm(
  emitter: Emitter,
  [x, scale, bias]: string[],
  [y, centre, inverse]: string[],
  epsilon: string,
) {
  const last = emitter.int64([-1])
  emitter.push('ReduceMean', [x!, last], [centre!])
  const off = step(emitter, 'Sub', x!, centre!)
  const variance = step(emitter, 'ReduceMean', step(emitter, 'Mul', off, off), last)
  emitter.push('Reciprocal', [step(emitter, 'Sqrt', step(emitter, 'Add', variance, epsilon))], [inverse!])
  const normal = step(emitter, 'Mul', off, inverse!)
  emitter.push('Add', [step(emitter, 'Mul', normal, scale!), bias!], [y!])
}

/**
 * erf as the Fourier series of its copies at distance πT: of 24 terms the rest is below 1e-17, and erf(6) is 1 in float64.
 * ONNX Runtime has no float64 kernel for it.
 */
export function emitDoubleErf(emitter: Emitter, x: number, y: string): void {
  const period = 3.8
  const scalar = (value: number) => emitter.scalar(value, x)
  const inside = step(emitter, 'Max', step(emitter, 'Min', emitter.name(x), scalar(6)), scalar(-6))
  let total = step(emitter, 'Mul', inside, scalar(2 / (Math.PI * period)))
  for (let n = 1; n <= 24; n++) {
    const wave = step(emitter, 'Sin', step(emitter, 'Mul', inside, scalar((2 * n) / period)))
    const weight = (2 / (Math.PI * n)) * Math.exp(-((n / period) ** 2))
    total = step(emitter, 'Add', total, step(emitter, 'Mul', wave, scalar(weight)))
  }
  emitter.push('Identity', [total], [y])
}
