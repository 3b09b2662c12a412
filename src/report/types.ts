/** What a conversion reports: plain data, the same in report.json, on the page and in the terminal. */

/** The report of one conversion; as JSON it is `report.json`. */
export interface Report {
  /** What was converted, e.g. `tiny-12x12`. */
  readonly name: string
  /** Wall-clock seconds of the whole command. */
  readonly seconds: number
  /** Absent where it cannot be known, as in a browser. */
  readonly peakMemoryBytes?: number
  readonly seed: number
  /** Version by name, e.g. `hedgehog`, `node`, `onnxruntime`. */
  readonly versions: Readonly<Record<string, string>>
  /** The command line that makes this report again. */
  readonly command: string
  readonly model: ReportModel
  readonly data: ReportData
  readonly rows: readonly Row[]
  /** The name of the row of the model that was written. Default `hedgehog`. */
  readonly converted?: string
  readonly curves: readonly Curve[]
  readonly heads: readonly HeadScore[]
  readonly maps: readonly AttentionMap[]
  readonly weightCurves: readonly WeightCurve[]
}

/** The sizes of the converted model. */
export interface ReportModel {
  readonly family: string
  readonly layers: number
  readonly heads: number
  readonly width: number
  /** Learned numbers, feature maps included. */
  readonly parameters: number
}

/** How much text was used, in tokens. */
export interface ReportData {
  readonly trainTokens: number
  readonly validationTokens: number
  readonly testTokens: number
  /** Tokens in a sequence. */
  readonly length: number
}

/**
 * The scores of one model. Names that every conversion uses: `teacher`, `teacher-finetuned`, `untrained`, `t2r`, `elu`,
 * `hedgehog-distilled`, `hedgehog`.
 */
export interface Row {
  readonly name: string
  /** exp(loss) on the test text. */
  readonly perplexity: number
  /** Mean cross-entropy per token in nats on the test text. */
  readonly loss: number
  /** KL(teacher ‖ student) of attention weights in nats, mean over heads and queries. */
  readonly kl?: number
  /** Entropy of the attention weights in nats, mean over heads and queries. */
  readonly entropy?: number
  /** How steadily the attention weight rises with q·k, mean over heads; 1 where it always does. */
  readonly monotonicity?: number
  /** Seconds that making this model took. */
  readonly seconds: number
  readonly note?: string
}

/** The loss of one model over the steps of one phase. */
export interface Curve {
  /** A name of a {@link Row}. */
  readonly name: string
  /** What was done, e.g. `distill`; curves of one phase share a chart. */
  readonly phase: string
  readonly points: readonly CurvePoint[]
}

/** Losses after a step; a validation loss only where one was measured. */
export interface CurvePoint {
  readonly step: number
  readonly loss: number
  readonly validationLoss?: number
}

/** How near one head of one converted model is to the teacher's; layers and heads count from 0. */
export interface HeadScore {
  readonly layer: number
  readonly head: number
  /** A name of a {@link Row}. */
  readonly row: string
  readonly kl: number
  readonly entropyTeacher: number
  readonly entropyStudent: number
  readonly monotonicity: number
}

/** Attention weights of one head over one text, [query][key], each row with sum 1. */
export interface AttentionMap {
  readonly layer: number
  readonly head: number
  readonly tokens: readonly string[]
  readonly teacher: readonly (readonly number[])[]
  readonly student: readonly (readonly number[])[]
  /** The student before any training. */
  readonly untrained?: readonly (readonly number[])[]
}

/** Attention weight against q·k/√d in one head, a series for each model. */
export interface WeightCurve {
  readonly layer: number
  readonly head: number
  readonly series: readonly {
    readonly name: string
    readonly points: readonly (readonly [qk: number, weight: number])[]
  }[]
}
