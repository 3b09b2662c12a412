/** `hedgehog train`: a model from scratch on text files. */

import { basename, dirname } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { formatSeconds } from '../../base/format.ts'
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
import { fingerprintOf, type Recipe, trainOnText } from '../../train/pretrain.ts'
import type { Run } from '../command.ts'
import { readTexts, writeTogether } from '../inputs.ts'
import type { Values } from '../options.ts'
import type { trainOptions } from '../optionTables.ts'
import { openTraining, runTraining } from '../training.ts'

type Options = Values<typeof trainOptions>

export const run: Run<typeof trainOptions> = async (context, _args, options) => {
  const { out } = options
  const sink = await openTraining(options)
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
  const trained = await runTraining(context, sink, options, fingerprintOf(task), (run) =>
    trainOnText(task, { ...run, phase: 'train', consume: true }),
  )
  const last = trained.curve.at(-1)
  const value = {
    out,
    parameters: countParams(model.params),
    trainTokens: task.trainTokens.length,
    steps: trained.step,
    seconds: trained.seconds,
    loss: last?.loss,
    validationLoss: last?.validationLoss,
  }
  const { commandLine: command, seed } = context
  await writeTogether(out, async (result) => {
    await saveModel(result, { config, params: trained.params }, { tokenizer: tokenizer.json })
    await writeJson(result, 'training.json', { command, seed, recipe, ...value, curve: trained.curve })
  })
  const held = last?.validationLoss === undefined ? '' : `, held-out loss ${last.validationLoss.toFixed(4)}`
  return { value, text: `${out}: ${trained.step} steps in ${formatSeconds(trained.seconds)}${held}` }
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
