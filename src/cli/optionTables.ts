/** The options of each command, apart from its body, so that help needs no body. */

import { propertyNames } from '../evaluate/propertyNames.ts'
import { metrics } from '../metrics/metrics.ts'
import { schedules } from '../train/schedules.ts'
import { flag, many, option, required, withDefault } from './options.ts'
import {
  anyText,
  bytes,
  day,
  integer,
  listOf,
  loraSettings,
  number,
  oneOf,
  path,
  settings,
  shardOf,
} from './readers.ts'

const whole = integer(1)
const rate = number({ above: 0 })
const device = withDefault(option('NAME', oneOf('cpu', 'webgpu'), 'where to compute: cpu or webgpu'), 'cpu')
const data = many(option('FILE', path, 'text to learn from: text, JSON lines or source files'))
const validation = option('FILE', path, 'held-out text to choose the best step by; else a part of --data')
const test = option('FILE', path, 'held-out text for the scores in the report; else a part of --data')
const date = option('DAY', day, 'the day that a chat template writes, e.g. 2025-03-01; else it knows none')
const length = option('N', whole, 'tokens in a sequence (256, or what the model can)')
const batch = option('N', whole, 'sequences in a batch')

const memory = option('SIZE', bytes, 'the most memory that is used, e.g. 6GB: blocks are read as they are needed')

/** Options of commands whose work is kept in the output folder until they are done. */
const job = {
  force: flag('write into a folder that is not empty'),
  checkpointEvery: option('N', whole, 'steps between checkpoints; one is written after five minutes in any case'),
  keep: option('N', whole, 'newest checkpoints of a stage that are kept, besides the best (2)'),
  resume: flag('go on with the job in --out, however it was ended; begin it where there is none'),
}

const lora = option(
  'SETTINGS',
  loraSettings,
  'finetune an adapter, merged at the end: rank=8,alpha=16,targets=q_proj,v_proj',
)

/** Options of `hedgehog convert`. */
export const convertOptions = {
  data: required(data),
  validation,
  test,
  map: option('NAME', anyText, 'the feature map (hedgehog)'),
  compare: option('MAPS', listOf(anyText), 'maps to convert to beside it, for the report (t2r,elu)'),
  out: option('DIR', path, 'where the model and the report are written (NAME-linear)'),
  length,
  batch,
  distillSteps: option('N', integer(0), 'steps of attention distillation, in which only the maps learn (450)'),
  distillLr: option('X', rate, 'learning rate of distillation (0.03)'),
  distillUpdates: option('N', integer(1), 'updates of the maps in each of its steps, on parts of the queries (1)'),
  distillLoss: option(
    'NAME',
    oneOf('cross-entropy', 'mse', 'both'),
    'what distillation matches: cross-entropy, mse, both (both)',
  ),
  finetuneSteps: option('N', integer(0), 'steps in which all weights learn (60)'),
  finetuneLr: option('X', rate, 'learning rate of finetuning (1e-4)'),
  lora,
  memory,
  ...job,
  device,
}

/** Families that `hedgehog train` makes from sizes; the table of families is not loaded for help. */
const languageFamilies = ['gpt2', 'llama', 'mistral', 'qwen2'] as const

/** Options of `hedgehog train`. */
export const trainOptions = {
  data: required(data),
  validation,
  tokenizer: option('FILE', path, 'a tokenizer.json; else one is learned from --data'),
  config: option('FILE', path, 'a config.json of a model; else the five sizes below'),
  family: option('NAME', oneOf(...languageFamilies), `its architecture: ${languageFamilies.join(', ')}`),
  layers: option('N', whole, 'blocks of the model'),
  width: option('N', whole, 'width of the model, a multiple of --heads'),
  heads: option('N', whole, 'attention heads in a block'),
  length,
  vocab: option('N', whole, 'tokens in the vocabulary'),
  out: required(option('DIR', path, 'where the model and its checkpoints are written')),
  steps: option('N', whole, 'steps to train'),
  minutes: option('X', rate, 'stop after this time, whatever --steps says'),
  batch,
  accumulate: option('N', whole, 'batches whose gradients make one step'),
  lr: option('X', rate, 'the highest learning rate'),
  schedule: option('NAME', oneOf(...keys(schedules)), `how the learning rate moves: ${keys(schedules).join(', ')}`),
  warmup: option('N', integer(0), 'steps in which the learning rate rises'),
  decay: option('X', number({ from: 0 }), 'weight decay'),
  clip: option('X', rate, 'the largest norm of the gradient'),
  dropout: option('X', number({ from: 0, below: 1 }), 'the share of activations that are dropped'),
  evalEvery: option('N', whole, 'steps between evaluations'),
  best: flag('end with the weights of the lowest held-out loss, not the last ones; needs --validation'),
  ...job,
  device,
}

/** Options of `hedgehog finetune`. */
export const finetuneOptions = {
  data: required(many(option('FILE', path, 'text; conversations as .jsonl; labelled texts as .csv, .tsv or .jsonl'))),
  validation: option('FILE', path, 'held-out data of the same kind, measured during training'),
  lora,
  keepAdapter: flag('leave the adapter beside the weights, and write it for PEFT into adapter/ too'),
  text: option('NAME', anyText, 'the column of texts in a table (text)'),
  pair: option('NAME', anyText, 'the column of second texts, where there are pairs'),
  label: option('NAME', anyText, 'the column of labels (label)'),
  answers: option('WHICH', oneOf('all', 'last'), 'learn all answers of a conversation, or the last (all)'),
  out: required(option('DIR', path, 'where the model and its checkpoints are written')),
  steps: option('N', whole, 'steps to train (100)'),
  minutes: option('X', rate, 'stop after this time, whatever --steps says'),
  length,
  batch,
  accumulate: option('N', whole, 'batches whose gradients make one step'),
  lr: option('X', rate, 'the highest learning rate (5e-5, with --lora 2e-4)'),
  schedule: option('NAME', oneOf(...keys(schedules)), `how the learning rate moves: ${keys(schedules).join(', ')}`),
  warmup: option('N', integer(0), 'steps in which the learning rate rises'),
  decay: option('X', number({ from: 0 }), 'weight decay'),
  clip: option('X', rate, 'the largest norm of the gradient'),
  dropout: option('X', number({ from: 0, below: 1 }), 'the share of activations that are dropped'),
  evalEvery: option('N', whole, 'steps between evaluations'),
  best: flag('end with the weights of the lowest held-out loss, not the last ones; needs --validation'),
  memory,
  ...job,
  device,
}

/** Options of `hedgehog distill`. */
export const distillOptions = {
  data: required(data),
  validation: option('FILE', path, 'held-out text that losses are measured on; else the last twentieth of --data'),
  map: option('NAME', anyText, 'the feature map (hedgehog)'),
  shard: option('I/N', shardOf, 'distil the i-th of n parts of the layers, for hedgehog merge to put together'),
  out: option('DIR', path, 'where the model, or the folder of the shard, is written (NAME-distilled)'),
  length,
  batch,
  steps: option('N', whole, 'steps (450)'),
  lr: option('X', rate, 'learning rate (0.03)'),
  loss: option('NAME', oneOf('cross-entropy', 'mse', 'both'), 'what is matched: cross-entropy, mse, both (both)'),
  updates: option('N', whole, 'updates of the maps in each step, on parts of the queries (1)'),
  memory,
  threads: option('N', whole, 'threads to compute with (as many as there are cores)'),
  force: flag('begin anew, whatever is in --out'),
  checkpointEvery: job.checkpointEvery,
  keep: job.keep,
  device,
}

/** Options of `hedgehog submit`; those of a distillation are handed on. */
export const submitOptions = {
  ...distillOptions,
  out: required(option('DIR', path, 'the folder of all shards, which all machines see')),
  shards: required(option('N', whole, 'parts of the layers, each a task of its own')),
  slurm: flag('write a job array for Slurm, and submit it'),
  kubernetes: flag('print an indexed Job for kubectl apply -f'),
  dryRun: flag('write the scripts and submit nothing'),
  cpus: withDefault(option('N', whole, 'cores, and threads, of a task'), 4),
  time: option('TIME', anyText, "Slurm's limit of a task, e.g. 24:00:00"),
  partition: option('NAME', anyText, "Slurm's partition"),
  image: option('NAME', anyText, 'the container image for Kubernetes'),
  claim: option('NAME', anyText, 'the volume claim for Kubernetes that is mounted at /data'),
  program: withDefault(option('COMMAND', anyText, 'how hedgehog is started there'), 'hedgehog'),
}

/** Options of `hedgehog merge`. */
export const mergeOptions = {
  out: required(option('DIR', path, 'where the model is written')),
  force: flag('write into a folder that is not empty'),
  device,
}

/** Options of `hedgehog export`. */
export const exportOptions = {
  to: required(
    option(
      'TARGET',
      oneOf('onnx', 'transformers.js', 'fla', 'lolcats'),
      'the program to export for: onnx, transformers.js, fla, lolcats',
    ),
  ),
  dtype: option(
    'TYPE',
    oneOf('float32', 'float16', 'int8', 'int4'),
    'what weights are stored as: float32, float16, int8, int4 (float32)',
  ),
  attention: option(
    'FORM',
    oneOf('operator', 'decomposed'),
    "linear attention by ONNX Runtime's own operator, or decomposed for engines without it (operator)",
  ),
  positions: option('N', whole, 'positions to make rotary tables for (as many as the model was made for)'),
  inexact: flag('write a checkpoint that the program computes otherwise, to be trained further there'),
  out: option('DIR', path, 'where the export is written (NAME-TARGET)'),
  force: flag('write into a folder that is not empty'),
}

/** Options of `hedgehog eval`. */
export const evalOptions = {
  data: required(many(option('FILE', path, 'text; for rouge JSON lines of questions; for classifiers a table'))),
  metric: option('NAMES', listOf(oneOf(...keys(metrics))), `what to measure (perplexity): ${keys(metrics).join(', ')}`),
  length,
  batch,
  maxTokens: option('N', whole, 'tokens of text to evaluate on at most'),
  maxExamples: option('N', whole, 'questions, or rows of a table, to evaluate on at most'),
  tokens: option('N', whole, 'tokens of an answer at most (128)'),
  stem: flag('rouge compares stems of English words'),
  date,
  text: option('COLUMN', anyText, 'column of the texts (text)'),
  pair: option('COLUMN', anyText, 'column of second texts, where two are compared'),
  label: option('COLUMN', anyText, 'column of the labels (label)'),
  memory,
  out: option('DIR', path, 'where eval.json is written; an evaluation that is ended there can be gone on with'),
  force: job.force,
  resume: job.resume,
  device,
}

/** Options of `hedgehog inspect`. */
export const inspectOptions = {
  data: required(many(option('FILE', path, 'text to measure on; each file is shown by its name'))),
  maps: option('NAMES', listOf(anyText), 'all, or feature maps and other attentions (all; of a converted model none)'),
  properties: option('NAMES', listOf(anyText), `of ${propertyNames.join(', ')} (all)`),
  lengths: option(
    'LIST',
    listOf(whole),
    "tokens in a sequence, e.g. 256,1024 (a quarter, half and all of the model's)",
  ),
  tokens: option('N', whole, 'tokens read of each text at each length (4096)'),
  distillData: many(option('FILE', path, 'text that learned maps are distilled on first, other than --data')),
  distillSteps: option('N', integer(0), 'steps of their distillation (450)'),
  out: option(
    'DIR',
    path,
    'where inspect.json and inspect.html are written; the same command goes on with what was ended there',
  ),
  force: flag('begin anew, whatever is in --out'),
  checkpointEvery: job.checkpointEvery,
  keep: job.keep,
  device,
}

/** How tokens are chosen. */
const sampling = {
  temperature: option('X', number({ from: 0 }), 'below 1 more likely text, 0 always the likeliest token'),
  topK: option('N', whole, 'sample from this many of the likeliest tokens'),
  topP: option('X', number({ above: 0, to: 1 }), 'sample from the likeliest tokens with this much of the probability'),
  minP: option('X', number({ from: 0, to: 1 }), 'leave out tokens below this share of the likeliest one'),
  repetitionPenalty: option('X', rate, 'above 1 makes tokens that were seen less likely'),
}

/** Options of `hedgehog generate`. */
export const generateOptions = {
  prompt: option('TEXT', anyText, 'the text to go on from'),
  tokens: option('N', whole, 'tokens to generate'),
  ...sampling,
  stop: many(option('TEXT', anyText, 'end before this text')),
  count: withDefault(option('N', integer(1, 256), 'texts to write at once'), 1),
  logprobs: option('N', integer(0, 1000), 'with --json, ln p of each token and of the N likeliest in its place'),
  load: option('FILE', path, 'go on from a saved state; --prompt comes after what it has read'),
  save: option('FILE', path, 'save the state at the end of the text'),
  device,
}

/** Options of `hedgehog chat`. */
export const chatOptions = {
  system: option('TEXT', anyText, 'what the model is told before the conversation'),
  load: option('FILE', path, 'go on from a saved conversation'),
  tokens: withDefault(option('N', whole, 'the most tokens of an answer'), 512),
  ...sampling,
  device,
}

/** Options of `hedgehog data preview`. */
export const dataPreviewOptions = {
  model: required(option('DIR', path, 'model whose tokenizer and chat template are used')),
  count: option('N', whole, 'examples to show (3)'),
  answers: option('WHICH', oneOf('all', 'last'), 'learn all answers of a conversation, or the last: all, last (all)'),
  date,
}

/** Options of `hedgehog experiment list`. */
export const experimentListOptions = {}

/** Options of `hedgehog experiment run`. */
export const experimentRunOptions = {
  data: option('DIR', path, 'the folder of the dataset, where the experiment reads one'),
  model: option('DIR', path, 'the folder of the pretrained model, where the experiment converts one'),
  quick: flag('scaled down, on generated or packaged data: shows within minutes that it runs'),
  compare: option('NAMES', listOf(anyText), 'attentions to compare; else those of the paper'),
  set: option('NAME=N,…', settings, 'other values of settings, as `hedgehog experiment list` names them'),
  out: option('DIR', path, 'where results and checkpoints are written (runs/experiments/NAME)'),
  force: flag('begin anew, whatever is in --out'),
  device,
  threads: option('N', whole, 'threads to compute with (as many as there are cores)'),
}

/** Options of `hedgehog doctor`. */
export const doctorOptions = {}

/** Options of `hedgehog serve`. */
export const serveOptions = {
  host: withDefault(option('HOST', anyText, 'the address to listen at; 0.0.0.0 for all of the machine'), '127.0.0.1'),
  port: withDefault(option('N', integer(0, 65535), 'the port to listen at, 0 for any'), 8080),
  name: option('NAME', anyText, 'what clients call the model (the name of its folder)'),
  concurrent: withDefault(option('N', integer(1, 512), 'texts that are written at once'), 32),
  queue: withDefault(option('N', integer(0), 'texts that may wait; further requests are sent away'), 128),
  maxTokens: withDefault(option('N', whole, 'the most tokens to write for a text'), 4096),
  maxPrompt: withDefault(option('N', whole, 'the most tokens of a prompt'), 131072),
  maxBody: withDefault(option('MB', rate, 'the largest body of a request'), 4),
  cache: withDefault(option('MB', integer(0), 'memory for states of prompts, which are then not read again'), 256),
  timeout: withDefault(option('SECONDS', rate, 'the most time for an answer'), 600),
  grace: withDefault(option('SECONDS', number({ from: 0 }), 'time for answers to end after Ctrl-C'), 30),
  threads: option('N', whole, 'threads of the model (as many as there are cores)'),
  device,
}

function keys<T extends object>(table: T): (keyof T & string)[] {
  return Object.keys(table) as (keyof T & string)[]
}
