/** The portable library: everything that runs in Node and in a browser alike. */

export type { Attention } from './attention/attention.ts'
export { type DistillLoss, divergence, entropy, imitation } from './attention/distillation.ts'
export {
  type FeatureMap,
  featureMap,
  featureMaps,
  type MapEntry,
  type MapName,
  mapNamed,
} from './attention/featureMaps.ts'
export { type LinearState, linearAttention, linearAttentionFrom, linearWeights } from './attention/linear.ts'
export { type AttentionPlan, attentionKinds, attentionOf, planName, planNamed } from './attention/plan.ts'
export { softmaxAttention, softmaxWeights } from './attention/softmax.ts'
export { type FloatArray, floats, ints, type NDArray, type Params } from './base/array.ts'
export { Interrupted, UsageError } from './base/errors.ts'
export { finish, type Job, type Progress } from './base/progress.ts'
export { type Random, random } from './base/random.ts'
export { type Conversion, type ConvertJob, convert } from './convert/convert.ts'
export { createDistillation } from './convert/distill.ts'
export { linearize } from './convert/linearize.ts'
export { reportOf } from './convert/report.ts'
export { fidelity, type HeadFidelity, layerWeights } from './evaluate/fidelity.ts'
export { createInspection, type HeadProperties, type Inspection, meanProperties } from './evaluate/inspection.ts'
export { type PropertyName, properties } from './evaluate/properties.ts'
export { steadiness } from './evaluate/steadiness.ts'
export { createBackward } from './execute/backward.ts'
export { createForward, type Forward } from './execute/forward.ts'
export { type Batch, countLabels, type Objective } from './execute/objective.ts'
export { perplexity, type Score } from './execute/perplexity.ts'
export { generate } from './generate/generate.ts'
export { createGenerator, type Generator, type State, stateBytes } from './generate/state.ts'
export { textStream } from './generate/stream.ts'
export { gradients, vjp } from './graph/gradient.ts'
export { toOnnx } from './graph/onnx.ts'
export * as ops from './graph/ops.ts'
export type { Tensor } from './graph/tensor.ts'
export { type Tensors, trace } from './graph/trace.ts'
export { type Adapter, readAdapter, writePeftAdapter } from './io/adapters.ts'
export { batches, encodeDocuments, heldOut } from './io/batches.ts'
export { trainBpe } from './io/bpe.ts'
export { type ChatTemplate, chatTemplate, loadChatTemplate, type Message } from './io/chatTemplate.ts'
export { type Checkpoint, openCheckpoint } from './io/checkpoint.ts'
export type { Sink, Source } from './io/files.ts'
export { modelFolder } from './io/ggufFolder.ts'
export { type MapDialect, mapsFrom, mapsTo } from './io/mapNames.ts'
export { loadTokenizer, type Tokenizer, tokenizerFrom } from './io/tokenizer.ts'
export {
  type Measured,
  type Metric,
  type MetricInputs,
  type MetricName,
  metricNamed,
  metrics,
} from './metrics/metrics.ts'
export { type Overlap, rougeL, rougeLsum, rougeN, rougeWords } from './metrics/rouge.ts'
export { bert } from './models/bert.ts'
export { families, newModel, paramSpecs, readConfig, withTask } from './models/families.ts'
export { type LoadOptions, loadModel, saveModel } from './models/folder.ts'
export { gpt2 } from './models/gpt2.ts'
export { llama, mistral, qwen2 } from './models/llama.ts'
export type { Family, Model, ModelConfig, ModelInputs, ModelSizes, Task } from './models/model.ts'
export { stretchPositions } from './models/stretch.ts'
export { reportHtml } from './report/html.ts'
export { reportText } from './report/terminal.ts'
export type { Report } from './report/types.ts'
export { type Compiled, compile } from './runtime/compile.ts'
export type { Arrays, Device, Session } from './runtime/device.ts'
export { exampleBatches, heldOutExamples, packExamples } from './tasks/batches.ts'
export { type DatasetName, datasets } from './tasks/datasets.ts'
export { draws, heldOutDraws } from './tasks/draws.ts'
export type { Example } from './tasks/examples.ts'
export { encodeInstruction, type Instruction, readInstructions } from './tasks/instruction.ts'
export { heldOutInstructions, instructionBatches } from './tasks/instructionBatches.ts'
export { listOps, listOpsTokens } from './tasks/listops.ts'
export { type Pack, packing } from './tasks/pack.ts'
export { associativeRecall, multiQueryRecall } from './tasks/recall.ts'
export { readTable, type TableOptions } from './tasks/tables.ts'
export { adapterTrains, addLora, type LoraOptions, mergeLora } from './train/lora.ts'
export { adamw, optimizers } from './train/optimizers.ts'
export { type Recipe, trainOnText } from './train/pretrain.ts'
export { schedules } from './train/schedules.ts'
export { type Trained, type TrainOptions, train } from './train/train.ts'
