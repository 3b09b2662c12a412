/** Reverse-mode gradients: more nodes in the same trace, from the rules in primitives.ts. */

import { add, expand, filled } from './ops.ts'
import { primitives } from './primitives.ts'
import { type Node, Tensor } from './tensor.ts'

/**
 * Vector–Jacobian product: for each tensor of `wrt`, Σ over `outputs` of (∂output/∂tensor)ᵀ · cotangent.
 * A tensor that no output depends on gets zeros.
 * @param cotangents one per output, of its shape.
 * @throws RangeError when a cotangent has another shape than its output.
 */
export function vjp(outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] {
  const gradients = new Map<number, Tensor>()
  const accumulate = (id: number, gradient: Tensor) => {
    const known = gradients.get(id)
    gradients.set(id, known ? add(known, gradient) : gradient)
  }
  outputs.forEach((output, i) => {
    if (`${output.shape}` !== `${cotangents[i]!.shape}`) {
      throw new RangeError(`vjp: got a cotangent [${cotangents[i]!.shape}] of an output [${output.shape}]`)
    }
    accumulate(output.id, cotangents[i]!)
  })
  const trace = outputs[0]!.trace
  const needed = dependents(trace.nodes, wrt)
  for (const node of [...trace.nodes].reverse()) {
    if (node.outputs.some((id) => needed.has(id) && gradients.has(id))) backward(node)
  }
  return wrt.map((tensor) => {
    const gradient = gradients.get(tensor.id)
    return gradient ? expand(gradient, tensor.shape) : expand(filled(tensor, [], 0), tensor.shape)
  })

  function backward(node: Node): void {
    const operator = primitives[node.op]!
    if (!operator.grad) return
    const handles = (ids: readonly number[]) => ids.map((id) => new Tensor(trace, id))
    const [inputs, outs] = [handles(node.inputs), handles(node.outputs)]
    const lazy = operator.elementwise && inputs.every(({ shape }) => `${shape}` === `${outs[0]!.shape}`)
    const dys = outs.map((out) => {
      const dy = gradients.get(out.id)
      return dy && !lazy ? expand(dy, out.shape) : dy
    })
    const parts = operator.grad({ inputs, outputs: outs, attrs: node.attrs }, dys)
    parts.forEach((part, i) => {
      if (part && needed.has(node.inputs[i]!)) accumulate(node.inputs[i]!, part)
    })
  }
}

/** Gradients of a scalar. @throws RangeError when `loss` is not a scalar. */
export function gradients(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  return vjp([loss], [filled(loss, [], 1)], wrt)
}

/** All values that depend on one of `sources`, the sources among them. */
function dependents(nodes: readonly Node[], sources: readonly Tensor[]): Set<number> {
  const reached = new Set(sources.map(({ id }) => id))
  for (const { inputs, outputs } of nodes) {
    if (inputs.some((id) => reached.has(id))) for (const id of outputs) reached.add(id)
  }
  return reached
}
