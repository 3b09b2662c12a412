/** Summaries of dialogues: a language model converted with LoRA, judged by the overlap of its texts with references. */

import { isDistilled, planNamed } from '../attention/plan.ts'
import type { Job } from '../base/progress.ts'
import { random } from '../base/random.ts'
import { linearize } from '../convert/linearize.ts'
import { mapsLearned } from '../convert/stages.ts'
import { createBackward } from '../execute/backward.ts'
import { generate } from '../generate/generate.ts'
import { createGenerator } from '../generate/state.ts'
import { loadTokenizer, type Tokenizer } from '../io/tokenizer.ts'
import { type Overlap, rougeL, rougeN } from '../metrics/rouge.ts'
import { loadModel } from '../models/folder.ts'
import type { Model } from '../models/model.ts'
import type { CaseResult } from '../report/experimentTypes.ts'
import type { Dialogue } from '../tasks/corpora.ts'
import { datasets } from '../tasks/datasets.ts'
import { collected } from '../tasks/examples.ts'
import { encodeInstruction, type InstructionTokens } from '../tasks/instruction.ts'
import { instructionBatches } from '../tasks/instructionBatches.ts'
import { adapterTrains, addLora } from '../train/lora.ts'
import { mergeLora } from '../train/mergeLora.ts'
import { adamw } from '../train/optimizers.ts'
import { runStage } from '../train/stage.ts'
import { train } from '../train/train.ts'
import type { Case, Experiment, Setup } from './experiment.ts'
import { chosen, published } from './settings.ts'

const rouge = (name: string) => ({ name, better: 'higher', digits: 1 }) as const
const row = (name: string, one: number, two: number, long: number, note?: string) => ({
  name,
  values: { 'ROUGE-1': one, 'ROUGE-2': two, 'ROUGE-L': long },
  ...(note && { note }),
})

export const summaryExperiments = {
  'llama2-samsum': {
    title: 'Llama-2 7B converted with LoRA, summaries of SAMSum dialogues',
    source: 'arXiv 2402.04347, pretrained-conversion with LoRA',
    data: { kind: 'dataset', about: 'SAMSum: chats with summaries', datasets: ['samsum'] },
    columns: [rouge('ROUGE-1'), rouge('ROUGE-2'), rouge('ROUGE-L')],
    settings: {
      length: chosen(1024, 'tokens of dialogue and summary', 96),
      batch: published(8, 'examples in a batch', 2),
      distillSteps: chosen(1000, 'steps of distillation', 3),
      distillRate: published(1e-2, 'learning rate of distillation'),
      finetuneSteps: chosen(2000, 'steps in which only LoRA and the maps learn', 3),
      finetuneRate: published(1e-4, 'learning rate of LoRA'),
      rank: published(8, 'rank of LoRA'),
      alpha: published(16, 'scale of LoRA'),
      test: chosen(819, 'dialogues that are summarised', 2),
      tokens: chosen(100, 'tokens of a summary at most', 12),
    },
    attentions: ['t2r', 'hedgehog'],
    published: [
      row('softmax', 51.1, 27.6, 43.5),
      row('t2r', 2.8, 0.0, 2.6),
      row('hedgehog', 47.4, 23.4, 39.1),
      { name: 'base', values: { 'ROUGE-1': 19.3 } },
    ],
    cases,
  },
} as const satisfies Record<string, Experiment>

interface Summaries {
  readonly teacher: Model
  readonly tokenizer: Tokenizer
  readonly training: readonly InstructionTokens[]
  readonly test: readonly Dialogue[]
}

const promptOf = (dialogue: string): string => `Summarize this dialogue:\n${dialogue}\nSummary:`

async function cases(setup: Setup): Promise<Case[]> {
  const { resources, quick, settings } = setup
  const folder = resources.model ?? (quick ? resources.bundled : undefined)
  if (!folder)
    throw new Error('--model: is missing, want the folder of https://huggingface.co/meta-llama/Llama-2-7b-hf')
  const { train: training, test } = await dialoguesOf(setup)
  const tokenizer = await loadTokenizer(folder)
  const examples = training.map(({ id, dialogue, summary }) =>
    encodeInstruction({ prompt: promptOf(dialogue), completion: ` ${summary}` }, { tokenizer }, id),
  )
  const task: Summaries = {
    teacher: await loadModel(folder),
    tokenizer,
    training: examples,
    test: test.slice(0, settings.test),
  }
  return [
    { name: 'base', run: () => measured('base', task.teacher, task, setup) },
    { name: 'softmax', run: () => finetuned('softmax', task.teacher, task, setup) },
    ...setup.attentions.map((name): Case => ({ name, run: () => converted(name, task, setup) })),
  ]
}

/** SAMSum from --data; in a quick run without it, paragraphs of the packaged corpus whose first sentence is the summary. */
async function dialoguesOf({ resources, quick }: Setup): Promise<Record<'train' | 'test', Dialogue[]>> {
  const { data } = resources
  if (data) {
    const read = (split: string) => collected(datasets.samsum.read(data, split))
    return { train: await read('train'), test: await read('test') }
  }
  if (!quick) throw new Error(`--data: is missing, want the folder ${datasets.samsum.folder} of ${datasets.samsum.url}`)
  const corpus = await resources.corpus()
  const made = (documents: typeof corpus.train): Dialogue[] =>
    documents.slice(0, 20).map(({ name, text }) => {
      const words = text.split(/\s+/)
      return { id: name, dialogue: words.slice(12, 40).join(' '), summary: words.slice(0, 12).join(' ') }
    })
  return { train: made(corpus.train), test: made(corpus.test) }
}

async function* converted(name: string, task: Summaries, setup: Setup): Job<CaseResult> {
  const { seed, settings } = setup
  const { distillSteps, distillRate } = settings as Record<string, number>
  const student = linearize(task.teacher, name, random(seed).split(name))
  if (!isDistilled(planNamed(name))) return yield* finetuned(name, student, task, setup)
  const own = yield* mapsLearned(setup, name, student, {
    steps: distillSteps!,
    batches: batchesOf(task, setup),
    optimizer: adamw({ weightDecay: 0 }),
    learningRate: distillRate!,
    loss: 'cross-entropy',
  })
  return yield* finetuned(name, own.model, task, setup)
}

/** LoRA on the attention's projections, merged, and then measured. */
async function* finetuned(name: string, model: Model, task: Summaries, setup: Setup): Job<CaseResult> {
  const { device, seed, settings } = setup
  const { finetuneSteps, finetuneRate, rank, alpha } = settings as Record<string, number>
  const adapted = addLora(model, { rank: rank!, alpha: alpha! }, random(seed).split('lora'))
  const objective = createBackward(device, adapted.config)
  try {
    const { params } = yield* runStage(setup, name, 'finetune', (run) =>
      train(objective, adapted.params, {
        ...run,
        steps: finetuneSteps!,
        batches: batchesOf(task, setup),
        optimizer: adamw({ weightDecay: 0 }),
        learningRate: finetuneRate!,
        trains: adapterTrains(adapted.config),
      }),
    )
    const merged = await mergeLora(device, { ...adapted, params })
    return yield* measured(name, merged, task, setup)
  } finally {
    await objective.dispose()
  }
}

const batchesOf = ({ training }: Summaries, { settings, seed }: Setup) =>
  instructionBatches(training, { length: settings.length!, batch: settings.batch!, seed })

/** Writes a summary of each test dialogue, always the likeliest token, and compares it with the reference. */
async function* measured(name: string, model: Model, task: Summaries, setup: Setup): Job<CaseResult> {
  const { tokenizer, test } = task
  const { tokens: maxTokens, length } = setup.settings as Record<string, number>
  const generator = createGenerator(setup.device, model)
  const stop = tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText]
  const texts: string[] = []
  try {
    for (const [i, { dialogue }] of test.entries()) {
      const prompt = tokenizer.encode(promptOf(dialogue)).slice(-length!)
      const ids: number[] = []
      const options = { temperature: 0, maxTokens: maxTokens!, stop, ...(setup.signal && { signal: setup.signal }) }
      for await (const { id } of generate(generator, prompt, options)) ids.push(id)
      texts.push(tokenizer.decode(ids).trim())
      yield { phase: `summarize ${name}`, step: i + 1, steps: test.length, seconds: 0 }
    }
  } finally {
    await generator.dispose()
  }
  const mean = (overlap: (text: string, reference: string) => Overlap) =>
    (100 * test.reduce((total, { summary }, i) => total + overlap(texts[i]!, summary).f, 0)) / test.length
  return {
    values: {
      'ROUGE-1': mean((...pair) => rougeN(1, ...pair)),
      'ROUGE-2': mean((...pair) => rougeN(2, ...pair)),
      'ROUGE-L': mean((...pair) => rougeL(...pair)),
    },
  }
}
