/** `hedgehog finetune`: a model trained further, all of its weights or an adapter, on data of several kinds. */

import { resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { random } from '../../base/random.ts'
import { identityOf } from '../../generate/fingerprint.ts'
import { writePeftAdapter } from '../../io/adapters.ts'
import type { Sink } from '../../io/files.ts'
import { familyOf, paramSpecs } from '../../models/families.ts'
import { saveFrom } from '../../models/files.ts'
import { saveModel, writeJson } from '../../models/folder.ts'
import type { Model } from '../../models/model.ts'
import { countParams } from '../../nn/params.ts'
import { openDevice } from '../../node/device.ts'
import { openSource } from '../../node/source.ts'
import { type Finetuned, finetune } from '../../train/finetune.ts'
import { adapterTrains, addLora, detachedAdapter, type LoraOptions } from '../../train/lora.ts'
import type { Recipe } from '../../train/pretrain.ts'
import type { Outcome, Run } from '../command.ts'
import { filesDigest } from '../inputs.ts'
import { openJob } from '../job.ts'
import type { Values } from '../options.ts'
import type { finetuneOptions } from '../optionTables.ts'
import { learnedOf, openStreamed, saveMerged } from '../streaming.ts'
import { checkTraining, runTraining, trainedText } from '../training.ts'
import { openTrainingData, type TrainingData } from '../trainingData.ts'

type Options = Values<typeof finetuneOptions>

const resultFile = 'training.json'

/** What the command ends with. */
type Value = ReturnType<typeof endValue>

export const run: Run<typeof finetuneOptions, 'model'> = async (context, { model: path }, options) => {
  const { out, lora, keepAdapter } = options
  const { seed, commandLine: command } = context
  if (resolve(out) === resolve(path)) {
    throw new UsageError(`--out: ${out} is the model that is finetuned; choose another folder`)
  }
  checkTraining(options)
  const folder = await openJob(context, options, resultFile)
  const source = await context.run(openSource(path))
  if (options.memory !== undefined && !lora) {
    throw new UsageError('--memory: weights that are read as they are needed do not learn; pass --lora')
  }
  const streamed = options.memory && (await openStreamed(context, path, source, { ...options, folder: out }))
  const { batch = 8 } = options
  const data = await openTrainingData(source, { ...options, batch, seed, ...(streamed && { model: streamed.model }) })
  if (keepAdapter && !lora && !data.model.config.adapter) {
    throw new UsageError('--keep-adapter: there is no adapter to keep; pass --lora too')
  }
  const recipe = recipeOf(options, data.length, seed)
  const device = await openDevice(options.device as 'cpu')
  const { length } = data
  const learned = lora ? countLearned(data.model, lora) : 0
  const blocks = streamed ? streamed.plan({ batch, length, learned, pass: 'finetune' }) : undefined
  // Weights that are not in memory are merged when they are written.
  const kept = keepAdapter || streamed !== undefined
  const task = { device, ...data, recipe, keepAdapter: kept, ...(lora && { lora }), ...blocks?.streams }
  const settings = await settingsOf(path, data, options, recipe)
  const job = await folder.begin(settings)
  if (job.finished) {
    const { command: _c, seed: _s, recipe: _r, lora: _l, settings: _settings, curve: _curve, ...was } = job.finished
    return outcomeOf(was as Value)
  }
  const tuned = runTraining(context, job, options, 'finetune', (run) => finetune(task, { ...run, consume: true }))
  const done = await tuned.finally(() => blocks?.dispose())
  const value = { ...endValue(out, data, done), ...(blocks && { waited: blocks.reading().waited }) }
  const { json: tokenizer } = data.tokenizer
  await job.finish(async (result) => {
    if (!streamed) await saveModel(result, done.model, { tokenizer })
    else if (keepAdapter) await saveFrom(result, streamed.files, learnedOf(done.model), { tokenizer })
    else await saveMerged(result, { device, files: streamed.files, model: done.model, tokenizer })
    const { adapter, task } = done.model.config
    if (adapter && keepAdapter && task === 'language') await writePeft(result, done.model, path)
    await writeJson(result, resultFile, { command, seed, recipe, lora, ...value, settings, curve: done.curve })
  })
  return outcomeOf(value)
}

/** How many numbers an adapter has, and maps. */
function countLearned({ config, params }: Model, lora: LoraOptions): number {
  const learner = addLora({ config, params }, lora, random(0))
  const trains = adapterTrains(learner.config)
  return countParams(Object.fromEntries(Object.entries(learner.params).filter(([path]) => trains(path))))
}

function endValue(out: string, { kind, size, model }: TrainingData, done: Finetuned) {
  const { learned, step, seconds, curve, best } = done
  const { loss, validationLoss } = curve.at(-1) ?? {}
  const parameters = countParams(paramSpecs(model.config))
  return {
    ...{ out, data: kind, size, parameters, learned, steps: step, seconds, loss, validationLoss },
    ...(best && { best }),
  }
}

function outcomeOf(value: Value): Outcome {
  return { value, text: trainedText(value) }
}

/** The adapter for PEFT, in a folder of its own. */
async function writePeft(sink: Sink, model: Model, baseModel: string): Promise<void> {
  const { adapter, fanInFanOut } = detachedAdapter(model)
  const prefix = familyOf(model.config).checkpointPrefix
  const inside: Sink = { name: sink.name, write: (path, parts) => sink.write(`adapter/${path}`, parts) }
  await writePeftAdapter(inside, adapter, { prefix, fanInFanOut, baseModel })
}

function recipeOf(options: Options, length: number, seed: number): Recipe {
  const { steps = 100, batch = 8, schedule = 'cosine', decay = 0 } = options
  const { lr = options.lora ? 2e-4 : 5e-5 } = options
  return {
    ...{ steps, length, batch, seed, learningRate: lr, schedule },
    scheduleOptions: { warmup: Math.min(options.warmup ?? Math.ceil(steps / 10), steps) },
    adamw: { weightDecay: decay },
    accumulate: options.accumulate ?? 1,
    clip: options.clip ?? 1,
    dropout: options.dropout ?? 0,
    validateEvery: options.evalEvery ?? Math.ceil(steps / 5),
  }
}

/** What makes two runs the same run. */
async function settingsOf(path: string, data: TrainingData, options: Options, recipe: Recipe): Promise<object> {
  const { json: _, ...config } = data.model.config
  const { lora, keepAdapter, best, answers, text, pair, label } = options
  const files = await filesDigest([...options.data, ...(options.validation ? [options.validation] : [])])
  const { weights } = await identityOf(data.model, data.tokenizer)
  const read = { kind: data.kind, size: data.size, files, answers, text, pair, label }
  return { model: path, weights, config, data: read, lora, keepAdapter, best, recipe }
}
