/** A pretrained language model converted by each attention: perplexity and divergence before and after finetuning. */

import type { DistillLoss } from '../attention/distillation.ts'
import { isDistilled, planNamed } from '../attention/plan.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { controlsOf } from '../convert/convert.ts'
import { linearize } from '../convert/linearize.ts'
import { distilled, finetuned, idle, type StageJob, scored } from '../convert/stages.ts'
import { fidelity, type HeadFidelity } from '../evaluate/fidelity.ts'
import { generate } from '../generate/generate.ts'
import { createGenerator } from '../generate/state.ts'
import { encodeDocuments, heldOut } from '../io/batches.ts'
import type { CorpusDocument, Split } from '../io/corpus.ts'
import type { Source } from '../io/files.ts'
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.ts'
import { loadModel } from '../models/folder.ts'
import type { Model } from '../models/model.ts'
import type { CaseResult, Column, Line } from '../report/experimentTypes.ts'
import type { LoraOptions } from '../train/lora.ts'
import type { Case, Setup } from './experiment.ts'

export const perplexityColumn: Column = { name: 'perplexity', better: 'lower', digits: 2 }
export const klColumn: Column = { name: 'KL', unit: 'nats', better: 'lower', digits: 3 }

/** Columns that only some conversions have: before finetuning, and on longer sequences than it had. */
export const swappedColumns: readonly Column[] = [
  { ...perplexityColumn, name: 'raw perplexity' },
  { ...klColumn, name: 'raw KL' },
]
export const longerColumn: Column = { ...perplexityColumn, name: 'longer' }

/** Texts by the part of the corpus that they are from. */
export interface LanguageConversion {
  readonly model: Source
  readonly texts: Split<string>
  /** Finetuning learns an adapter instead of all weights. */
  readonly lora?: LoraOptions
  /** What distillation matches. Default `both`. */
  readonly loss?: DistillLoss
  /** Attentions that are only swapped in, since that is how they are used. */
  readonly untuned?: readonly string[]
  /** Whether rows have {@link swappedColumns}, and the divergence of each layer as a chart. */
  readonly swapped?: boolean
  /** Tokens in a sequence of {@link longerColumn}. */
  readonly longer?: number
  /** What every model goes on from, always with the likeliest token. */
  readonly prompts?: readonly string[]
}

/** Tokens that are written after a prompt. */
const writtenTokens = 40

/** Sequences at once where attention weights are compared. */
const comparedBatch = 2

/** The texts of documents. */
export function textsOf({ train, validation, test }: Split<CorpusDocument>): Split<string> {
  const texts = (documents: readonly CorpusDocument[]) => documents.map(({ text }) => text)
  return { train: texts(train), validation: texts(validation), test: texts(test) }
}

/** The stages of a conversion with an experiment's settings, on texts. */
export function stageJob(
  setup: Setup,
  texts: Split<string>,
  tokenizer: Tokenizer,
  { lora, loss = 'both' }: Pick<LanguageConversion, 'lora' | 'loss'> = {},
): StageJob {
  const { settings, seed, device, clock, signal, store } = setup
  const value = settings as Record<string, number>
  const encode = (part: readonly string[]) => encodeDocuments(tokenizer, part)
  const recipe = { length: value.length!, batch: value.batch!, seed, adamw: { weightDecay: 0 } }
  const phase = (steps: number, learningRate: number) => ({
    ...recipe,
    steps,
    learningRate,
    scheduleOptions: { warmup: Math.ceil(steps * value.warmup!) },
    validateEvery: Math.max(1, Math.ceil(steps / (value.validations ?? 5))),
  })
  const { distillSteps = 0, distillRate = 1, finetuneSteps = 0, finetuneRate = 1, testTokens: most = 1 } = value
  return {
    ...{ device, seed, clock, trainTokens: encode(texts.train), validationTokens: encode(texts.validation) },
    testTokens: encode(texts.test).subarray(0, most + 1),
    distill: {
      ...phase(distillSteps, distillRate),
      batch: Math.ceil(recipe.batch / 2),
      loss,
      updates: value.updates ?? 1,
    },
    finetune: phase(finetuneSteps, finetuneRate),
    ...(lora && { lora }),
    ...(signal && { signal }),
    ...(store && { store }),
  }
}

/** Rows: as it is, finetuned as it is, and by each attention; hybrids are followed by their controls. */
export async function languageConversionCases(setup: Setup, conversion: LanguageConversion): Promise<Case[]> {
  const teacher = await loadModel(conversion.model)
  const tokenizer = await loadTokenizer(conversion.model)
  const job = stageJob(setup, conversion.texts, tokenizer, conversion)
  const measures = measuring(setup, conversion, { teacher, tokenizer, job })
  const swappedIn = async function* (name: string): Job<Model> {
    const student = linearize(teacher, name, random(setup.seed).split(name))
    return (isDistilled(planNamed(name)) ? yield* distilled(job, name, student) : idle(student)).model
  }
  const row = async function* (name: string): Job<CaseResult> {
    const student = yield* swappedIn(name)
    if (conversion.untuned?.includes(name)) return yield* measures.result(name, student)
    const before = yield* measures.before(name, student)
    const { model } = yield* finetuned(job, name, student)
    return merged(before, yield* measures.result(name, model))
  }
  const control = (name: string, part: string): Case => ({
    name: `${name}, ${part}`,
    async *run() {
      const { model } = yield* finetuned(job, name, yield* swappedIn(name))
      const { perplexity } = yield* scored(job, `${name}, ${part}`, new Map(controlsOf(model)).get(part)!)
      return { values: { perplexity } }
    },
  })
  const controls = (name: string) =>
    controlsOf(linearize(teacher, name, random(setup.seed))).map(([part]) => control(name, part))
  return [
    { name: 'zero-shot', run: () => measures.result('zero-shot', teacher) },
    {
      name: 'softmax',
      run: async function* () {
        return yield* measures.result('softmax', (yield* finetuned(job, 'softmax', teacher)).model)
      },
    },
    ...setup.attentions.flatMap((name) => [{ name, run: () => row(name) }, ...controls(name)]),
  ]
}

interface Subject {
  readonly teacher: Model
  readonly tokenizer: Tokenizer
  readonly job: StageJob
}

/** What is measured of a model, as parts of rows. */
function measuring(setup: Setup, conversion: LanguageConversion, { teacher, tokenizer, job }: Subject) {
  const { longer, swapped = false, prompts = [] } = conversion
  const batches = (setup.settings as Record<string, number>).compared ?? 4

  const scores = async function* (name: string, model: Model): Job<CaseResult> {
    const { perplexity } = yield* scored(job, name, model)
    if (!longer) return { values: { perplexity } }
    const at = { ...job, finetune: { ...job.finetune, length: longer } }
    const { perplexity: far } = yield* scored(at, `${name}, ${longer} tokens`, model)
    return { values: { perplexity, [longerColumn.name]: far } }
  }

  const heads = async (model: Model, stream: 'teacher' | 'student'): Promise<HeadFidelity[]> => {
    // Without attention there are no weights to compare.
    if (model.config.attention.some(({ kind }) => kind === 'none')) return []
    const ids = [...heldOut(job.testTokens, { length: job.finetune.length, batch: comparedBatch })].slice(0, batches)
    return fidelity(
      job.device,
      teacher,
      model,
      ids.map((batch) => batch.ids),
      { stream },
    )
  }

  return {
    /** Before finetuning: the maps on the teacher's own queries and keys. */
    async *before(name: string, model: Model): Job<CaseResult> {
      if (!swapped) return { values: {} }
      const { perplexity } = yield* scored(job, `${name}, swapped in`, model)
      const found = await heads(model, 'teacher')
      const values = { 'raw perplexity': perplexity, ...(found.length > 0 && { 'raw KL': meanKl(found) }) }
      return { values, lines: layersLine('KL by layer, before finetuning', found) }
    },
    async *result(name: string, model: Model): Job<CaseResult> {
      const { values } = yield* scores(name, model)
      const found = await heads(model, 'student')
      const samples = []
      for (const prompt of prompts) samples.push({ prompt, text: await writtenAfter(setup, model, tokenizer, prompt) })
      return {
        values: { ...values, ...(found.length > 0 && { KL: meanKl(found) }) },
        ...(swapped && { lines: layersLine('KL by layer', found) }),
        ...(samples.length > 0 && { samples }),
      }
    },
  }
}

const meanKl = (heads: readonly HeadFidelity[]): number => heads.reduce((total, { kl }) => total + kl, 0) / heads.length

/** The mean divergence of each layer's heads. */
function layersLine(chart: string, heads: readonly HeadFidelity[]): Line[] {
  const layers = [...new Set(heads.map(({ layer }) => layer))]
  const points = layers.map((layer) => [layer, meanKl(heads.filter((head) => head.layer === layer))] as const)
  return points.length > 1 ? [{ chart, x: 'layer', y: 'KL in nats', points }] : []
}

function merged(before: CaseResult, after: CaseResult): CaseResult {
  const lines = [...(before.lines ?? []), ...(after.lines ?? [])]
  return { ...after, values: { ...after.values, ...before.values }, ...(lines.length > 0 && { lines }) }
}

async function writtenAfter({ device, signal }: Setup, model: Model, tokenizer: Tokenizer, prompt: string) {
  const generator = createGenerator(device, model)
  const stop = tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText]
  const ids: number[] = []
  try {
    const options = { temperature: 0, maxTokens: writtenTokens, stop, ...(signal && { signal }) }
    for await (const { id } of generate(generator, tokenizer.encode(prompt), options)) ids.push(id)
  } finally {
    await generator.dispose()
  }
  return tokenizer.decode(ids)
}
