/** `hedgehog train`: a model from scratch on text files. */

import { basename, dirname } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { random } from '../../base/random.ts'
import { encodeDocuments } from '../../io/batches.ts'
import { trainBpe } from '../../io/bpe.ts'
import { type Tokenizer, tokenizerFrom } from '../../io/tokenizer.ts'
import { familyOf, newModel } from '../../models/families.ts'
import { loadConfig, readJson, saveModel, writeJson } from '../../models/folder.ts'
import type { ModelConfig } from '../../models/model.ts'
import { countParams } from '../../nn/params.ts'
import { openDevice } from '../../node/device.ts'
import { folderSource } from '../../node/files.ts'
import { type Recipe, trainOnText } from '../../train/pretrain.ts'
import type { Trained } from '../../train/train.ts'
import type { Outcome, Run } from '../command.ts'
import { filesDigest, readTexts } from '../inputs.ts'
import { openJob } from '../job.ts'
import type { Values } from '../options.ts'
import type { trainOptions } from '../optionTables.ts'
import { checkTraining, runTraining, trainedText } from '../training.ts'

type Options = Values<typeof trainOptions>

const resultFile = 'training.json'

/** What the command ends with. */
type Value = ReturnType<typeof endValue>

export const run: Run<typeof trainOptions> = async (context, _args, options) => {
  const { out } = options
  checkTraining(options)
  const folder = await openJob(context, options, resultFile)
  const texts = await readTexts(options.data)
  const heldOutTexts = options.validation ? await readTexts([options.validation]) : []
  const tokenizer = await openTokenizer(options, texts)
  const config = await openConfig(options, tokenizer.vocabSize)
  const model = newModel(config, random(context.seed).split('weights'))
  const recipe = recipeOf(options, config, context.seed)
  const task = {
    device: await openDevice(options.device as 'cpu'),
    model,
    recipe,
    trainTokens: encodeDocuments(tokenizer, texts),
    ...(heldOutTexts.length && { validationTokens: encodeDocuments(tokenizer, heldOutTexts) }),
  }
  const { seed, commandLine: command } = context
  const { json: _, ...ownConfig } = config
  const data = await filesDigest([...options.data, ...(options.validation ? [options.validation] : [])])
  const settings = { config: ownConfig, recipe, seed, data, best: options.best }
  const job = await folder.begin(settings)
  if (job.finished) {
    const { command: _command, seed: _seed, recipe: _recipe, settings: _settings, curve: _curve, ...was } = job.finished
    return outcomeOf(was as Value)
  }
  const trained = await runTraining(context, job, options, 'train', (run) =>
    trainOnText(task, { ...run, consume: true }),
  )
  const value = endValue(out, trained, countParams(model.params), task.trainTokens.length)
  await job.finish(async (result) => {
    await saveModel(result, { config, params: trained.params }, { tokenizer: tokenizer.json })
    await writeJson(result, resultFile, { command, seed, recipe, ...value, settings, curve: trained.curve })
  })
  return outcomeOf(value)
}

function endValue(out: string, { step, seconds, curve, best }: Trained, parameters: number, trainTokens: number) {
  const { loss, validationLoss } = curve.at(-1) ?? {}
  return { out, parameters, trainTokens, steps: step, seconds, loss, validationLoss, ...(best && { best }) }
}

function outcomeOf(value: Value): Outcome {
  return { value, text: trainedText(value) }
}

/** The tokenizer that is given, else one of the text: learning it again for --resume gives the same. */
async function openTokenizer({ tokenizer: path, vocab }: Options, texts: readonly string[]): Promise<Tokenizer> {
  if (path) return tokenizerFrom(await readJson(folderSource(dirname(path)), basename(path)), path)
  return tokenizerFrom(trainBpe(texts, { vocabSize: vocab ?? 4096 }))
}

async function openConfig(options: Options, vocab: number): Promise<ModelConfig> {
  if (options.config) {
    const config = await loadConfig(folderSource(dirname(options.config)), basename(options.config))
    if (config.vocab < vocab) {
      throw new UsageError(
        `--config: ${options.config}: vocab_size is ${config.vocab}, the tokenizer has ${vocab} tokens`,
      )
    }
    return config
  }
  const { family = 'gpt2', layers = 4, width = 256, heads = 4, length = 256 } = options
  if (width % heads) throw new UsageError(`--width: got ${width}, want a multiple of --heads ${heads}`)
  return familyOf({ family }).configOf({ layers, width, heads, vocab, maxLength: length })
}

function recipeOf(options: Options, config: ModelConfig, seed: number): Recipe {
  const { steps = 1000, length = config.maxLength, batch = 16, lr = 1e-3, schedule = 'cosine', decay = 0.01 } = options
  if (length > config.maxLength)
    throw new UsageError(`--length: got ${length}, want at most the model's ${config.maxLength}`)
  const warmup = Math.min(options.warmup ?? Math.ceil(steps / 20), steps)
  return {
    steps,
    length,
    batch,
    seed,
    learningRate: lr,
    schedule,
    scheduleOptions: { warmup },
    adamw: { weightDecay: decay, beta2: 0.95 },
    accumulate: options.accumulate ?? 1,
    clip: options.clip ?? 1,
    dropout: options.dropout ?? 0,
    validateEvery: options.evalEvery ?? Math.ceil(steps / 10),
  }
}
