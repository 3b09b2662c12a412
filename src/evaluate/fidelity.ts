/** Fidelity: how near one student's attention weights are to softmax's, per layer and head, on held-out text. */

import type { FloatArray, NDArray } from '../base/array.ts'
import type { Model } from '../models/model.ts'
import type { Device } from '../runtime/device.ts'
import { createInspection, type InspectionOptions, meanProperties, teacherName } from './inspection.ts'

/** What was measured of one head; means over queries. */
export interface HeadFidelity {
  readonly layer: number
  readonly head: number
  /** KL(teacher ‖ student) in nats. */
  readonly kl: number
  readonly entropyTeacher: number
  readonly entropyStudent: number
  /** Mean over queries of Spearman's correlation of the student's weight with its q·k. */
  readonly monotonicity: number
}

/** Attention of one layer on one batch: weights and scores q·k/√d (b h l l). */
export interface LayerWeights {
  readonly layer: number
  readonly teacher: FloatArray
  readonly student: FloatArray
  /** The student's own q·k/√d, hidden positions very low. */
  readonly scores: FloatArray
}

/** Options of {@link fidelity}. */
export type FidelityOptions = Required<Pick<InspectionOptions, 'stream'>> & Pick<InspectionOptions, 'blocks'>

/** Attention weights of a teacher and a student beside each other, layer by layer. ids (b l). */
export async function* layerWeights(
  device: Device,
  teacher: Model,
  student: Model,
  ids: NDArray,
  options: FidelityOptions,
): AsyncGenerator<LayerWeights> {
  const inspection = createInspection(device, teacher, { student }, options)
  try {
    for await (const { layer, weights, scores } of inspection.weights(ids)) {
      yield { layer, teacher: weights[teacherName]!, student: weights.student!, scores: scores.student! }
    }
  } finally {
    await inspection.dispose()
  }
}

/** KL, entropies and monotonicity of every head, over batches of ids (b l), each counted by its sequences. */
export async function fidelity(
  device: Device,
  teacher: Model,
  student: Model,
  batches: readonly NDArray[],
  options: FidelityOptions,
): Promise<HeadFidelity[]> {
  const inspection = createInspection(device, teacher, { student }, options)
  try {
    const parts = []
    for (const ids of batches) parts.push({ heads: await inspection.measure(ids), weight: ids.shape[0]! })
    const means = meanProperties(parts)
    const teachers = means.filter(({ name }) => name === teacherName)
    return means
      .filter(({ name }) => name === 'student')
      .map(({ layer, head, kl, entropy, monotonicity }, i) => ({
        layer,
        head,
        kl: kl!,
        entropyTeacher: teachers[i]!.entropy!,
        entropyStudent: entropy!,
        monotonicity: monotonicity!,
      }))
  } finally {
    await inspection.dispose()
  }
}
