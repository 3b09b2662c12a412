/** The table of commands: a new command is one entry here and one file in commands/. */

import type { Command } from './command.ts'
import { command } from './command.ts'
import {
  chatOptions,
  convertOptions,
  dataPreviewOptions,
  distillOptions,
  doctorOptions,
  evalOptions,
  experimentListOptions,
  experimentRunOptions,
  exportOptions,
  finetuneOptions,
  generateOptions,
  inspectOptions,
  mergeOptions,
  serveOptions,
  submitOptions,
  trainOptions,
} from './optionTables.ts'

const model = 'a model: a folder with config.json, weights and tokenizer.json, a GGUF file, or hub:owner/name'

/** All commands, in the order in which the help shows them. */
export const commands: readonly Command[] = [
  command({
    name: 'convert',
    summary: 'turn a Transformer into a linear-attention model',
    examples: [
      'convert models/tiny --data corpus.txt --out converted',
      'convert models/tiny --data corpus.txt --compare elu,t2r --distill-steps 300 --finetune-steps 300',
      'convert models/tiny --data corpus.txt --out converted --resume',
      'convert llama-2-7b --data corpus.txt --lora rank=8 --memory 8GB --batch 1 --out converted',
    ],
    arguments: { model },
    options: convertOptions,
    load: () => import('./commands/convert.ts'),
  }),
  command({
    name: 'train',
    summary: 'train a model from scratch',
    examples: ['train --data corpus.txt --layers 4 --width 128 --heads 4 --length 256 --vocab 4096 --out model'],
    arguments: {},
    options: trainOptions,
    load: () => import('./commands/train.ts'),
  }),
  command({
    name: 'finetune',
    summary: 'train a model further on text, conversations or labelled texts',
    examples: [
      'finetune models/tiny --data corpus.txt --out tuned',
      'finetune smollm2 --data chats.jsonl --lora rank=8,alpha=16,targets=q_proj,v_proj --out tuned',
      'finetune models/tiny --data reviews.csv --label stars --out classifier',
    ],
    arguments: { model },
    options: finetuneOptions,
    load: () => import('./commands/finetune.ts'),
  }),
  command({
    name: 'distill',
    summary: 'learn the feature maps of a model layer by layer, or of a shard of its layers, within a given memory',
    examples: [
      'distill llama-2-7b --data corpus.txt --memory 6GB --out distilled',
      'distill llama-2-7b --data corpus.txt --shard 3/8 --out parts',
    ],
    arguments: { model },
    options: distillOptions,
    load: () => import('./commands/distill.ts'),
  }),
  command({
    name: 'submit',
    summary: 'distil in shards on a cluster: a Slurm job array, or an indexed Job of Kubernetes',
    examples: [
      'submit llama-2-7b --data corpus.txt --shards 8 --out /shared/parts --memory 6GB --slurm',
      'submit /data/llama-2-7b --data /data/corpus.txt --shards 8 --out /data/parts --kubernetes',
    ],
    arguments: { model },
    options: submitOptions,
    load: () => import('./commands/submit.ts'),
  }),
  command({
    name: 'merge',
    summary: 'put a LoRA adapter, or the shards of a distillation, into the weights of its model',
    examples: [
      'merge smollm2 adapter --out merged',
      'merge tuned --out merged',
      'merge llama-2-7b parts --out distilled',
    ],
    arguments: { model },
    last: {
      adapter:
        'a folder of PEFT or mlx-lm: adapter_config.json and its weights; or the --out of all shards (the adapter that the model has beside its weights)',
    },
    options: mergeOptions,
    load: () => import('./commands/merge.ts'),
  }),
  command({
    name: 'export',
    summary: 'write a model for ONNX Runtime, transformers.js, fla or LoLCATs',
    examples: [
      'export converted --to onnx',
      'export converted --to transformers.js --dtype int4 --out web-model',
      'export converted --to onnx --attention decomposed',
    ],
    arguments: { model },
    options: exportOptions,
    load: () => import('./commands/export.ts'),
  }),
  command({
    name: 'eval',
    summary: 'measure a model: perplexity on text, ROUGE of its answers, accuracy of a classifier',
    examples: [
      'eval converted --data test.txt',
      'eval converted --data test.txt --metric perplexity-by-position,bits-per-byte --length 1024',
      'eval converted --data dialogues.jsonl --metric rouge-1,rouge-2,rouge-l --stem --tokens 100',
      'eval classifier --data reviews.csv --metric accuracy,f1',
    ],
    arguments: { model },
    options: evalOptions,
    load: () => import('./commands/eval.ts'),
  }),
  command({
    name: 'generate',
    summary: 'write text with a model, with a state of constant size',
    examples: [
      "generate converted --prompt 'The old house' --tokens 100 --temperature 0.8",
      "generate converted --prompt 'The old house' --save house.safetensors",
      "generate converted --load house.safetensors --prompt ' At last'",
    ],
    arguments: { model },
    options: generateOptions,
    load: () => import('./commands/generate.ts'),
  }),
  command({
    name: 'chat',
    summary: 'talk with a model in the terminal',
    examples: ['chat converted', "chat converted --system 'Be brief.' --temperature 0.7"],
    arguments: { model },
    options: chatOptions,
    load: () => import('./commands/chat.ts'),
  }),
  command({
    name: 'data preview',
    summary: 'show instruction data as a model reads it, token by token, and what of it is learned',
    examples: [
      'data preview chats.jsonl --model smollm',
      'data preview chats.jsonl --model smollm --answers last --count 1',
    ],
    arguments: { file: 'JSON lines with messages, or with prompt and completion' },
    options: dataPreviewOptions,
    load: () => import('./commands/dataPreview.ts'),
  }),
  command({
    name: 'inspect',
    summary: 'measure how near feature maps come to softmax attention, and show it',
    examples: [
      'inspect models/tiny --distill-data train.txt --data test.txt other.txt --out inspected',
      'inspect models/tiny --data test.txt --maps elu,relu,performer:128 --lengths 256,1024,4096',
      'inspect converted --data test.txt',
    ],
    arguments: { model },
    options: inspectOptions,
    load: () => import('./commands/inspect.ts'),
  }),
  command({
    name: 'serve',
    summary: 'answer requests of OpenAI clients over HTTP, many at once',
    examples: ['serve converted', 'serve converted --host 0.0.0.0 --port 8000 --concurrent 16 --cache 1000'],
    arguments: { model },
    options: serveOptions,
    load: () => import('./commands/serve.ts'),
  }),
  command({
    name: 'experiment list',
    summary: 'list the experiments of the paper',
    examples: ['experiment list'],
    arguments: {},
    options: experimentListOptions,
    load: () => import('./commands/experimentList.ts'),
  }),
  command({
    name: 'experiment run',
    summary: 'run one of them, its measured rows beside the published ones',
    examples: [
      'experiment run mqar-64-4 --quick',
      'experiment run glue-cola --model bert-base-uncased --data CoLA --out cola',
      'experiment run mqar-64-4 --compare softmax,hedgehog+half --set width=128,steps=9000',
    ],
    arguments: { name: 'a name of `hedgehog experiment list`' },
    options: experimentRunOptions,
    load: () => import('./commands/experimentRun.ts'),
  }),
  command({
    name: 'doctor',
    summary: 'look at this machine: versions, memory, disk, and whether its execution providers compute rightly',
    examples: ['doctor', 'doctor --json'],
    arguments: {},
    options: doctorOptions,
    load: () => import('./commands/doctor.ts'),
  }),
]
