/** `hedgehog finetune`: a model trained further, all of its weights or an adapter, on data of several kinds. */

import { resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { formatSeconds } from '../../base/format.ts'
import { writePeftAdapter } from '../../io/adapters.ts'
import type { Sink } from '../../io/files.ts'
import { familyOf } from '../../models/families.ts'
import { saveModel, writeJson } from '../../models/folder.ts'
import type { Model } from '../../models/model.ts'
import { countParams } from '../../nn/params.ts'
import { openDevice } from '../../node/device.ts'
import { openSource } from '../../node/source.ts'
import { finetune } from '../../train/finetune.ts'
import { detachedAdapter } from '../../train/lora.ts'
import type { Recipe } from '../../train/pretrain.ts'
import type { Run } from '../command.ts'
import { writeTogether } from '../inputs.ts'
import type { Values } from '../options.ts'
import type { finetuneOptions } from '../optionTables.ts'
import { openTraining, runTraining } from '../training.ts'
import { openTrainingData, type TrainingData } from '../trainingData.ts'

type Options = Values<typeof finetuneOptions>

export const run: Run<typeof finetuneOptions, 'model'> = async (context, { model: path }, options) => {
  const { out, lora, keepAdapter } = options
  const { seed, commandLine: command } = context
  if (resolve(out) === resolve(path)) {
    throw new UsageError(`--out: ${out} is the model that is finetuned; choose another folder`)
  }
  const sink = await openTraining(options)
  const source = await context.run(openSource(path))
  const data = await openTrainingData(source, { ...options, batch: options.batch ?? 8, seed })
  if (keepAdapter && !lora && !data.model.config.adapter) {
    throw new UsageError('--keep-adapter: there is no adapter to keep; pass --lora too')
  }
  const recipe = recipeOf(options, data.length, seed)
  const device = await openDevice(options.device as 'cpu')
  const task = { device, ...data, recipe, keepAdapter, ...(lora && { lora }) }
  const done = await runTraining(context, sink, options, fingerprintOf(path, data, options, recipe), (run) =>
    finetune(task, { ...run, phase: 'finetune', consume: true }),
  )
  const last = done.curve.at(-1)
  const value = {
    out,
    data: data.kind,
    size: data.size,
    parameters: countParams(data.model.params),
    learned: done.learned,
    steps: done.step,
    seconds: done.seconds,
    loss: last?.loss,
    validationLoss: last?.validationLoss,
  }
  await writeTogether(out, async (result) => {
    await saveModel(result, done.model, { tokenizer: data.tokenizer.json })
    if (done.model.config.adapter && done.model.config.task === 'language') await writePeft(result, done.model, path)
    await writeJson(result, 'training.json', { command, seed, recipe, lora, ...value, curve: done.curve })
  })
  const held = last?.validationLoss === undefined ? '' : `, held-out loss ${last.validationLoss.toFixed(4)}`
  return { value, text: `${out}: ${done.step} steps in ${formatSeconds(done.seconds)}${held}` }
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

/** What makes two runs the same run, as text. */
function fingerprintOf(path: string, { model, kind, size }: TrainingData, options: Options, recipe: Recipe): string {
  const { json: _, ...config } = model.config
  const { lora, answers, text, pair, label } = options
  return JSON.stringify({ model: path, config, data: { kind, size, answers, text, pair, label }, lora, recipe })
}
