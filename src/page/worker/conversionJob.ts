/** A conversion as the library knows it, from what a person chose on the page; the same in a browser and in Node. */

import { planName, planNamed } from '../../attention/plan.ts'
import { type ConvertJob, checkJob } from '../../convert/convert.ts'
import { conversionRecipes } from '../../convert/recipes.ts'
import { encodeDocuments } from '../../io/batches.ts'
import type { Split } from '../../io/corpus.ts'
import type { Loaded } from '../../models/writing.ts'
import type { Device } from '../../runtime/device.ts'
import type { StageHost } from '../../train/stage.ts'
import type { ConversionChoices } from '../conversion.ts'

/** Test tokens that perplexities are measured on at most: a tab is slower than the command line. */
const testTokens = 4096

/**
 * The conversion that was chosen.
 * @throws RangeError for a choice that does not fit model or text.
 */
export function conversionJob(
  device: Device,
  { model, tokenizer }: Loaded,
  texts: Split<string>,
  choices: ConversionChoices,
  host: StageHost,
): ConvertJob {
  const { length } = choices
  if (length > model.config.maxLength) {
    throw new RangeError(`Length: got ${length} tokens, want at most the model's ${model.config.maxLength}`)
  }
  const encode = (documents: readonly string[]) => encodeDocuments(tokenizer, documents)
  const job: ConvertJob = {
    ...host,
    device,
    teacher: model,
    trainTokens: encode(texts.train),
    validationTokens: encode(texts.validation),
    testTokens: encode(texts.test).subarray(0, testTokens),
    map: planName(planNamed(choices.map)),
    compare: [],
    ...conversionRecipes(choices),
  }
  checkJob(job)
  return job
}

/** The command that does the same in a terminal. */
export function commandOf(model: string, text: string, choices: ConversionChoices): string {
  const { map, length, batch, distillSteps, finetuneSteps, seed } = choices
  const numbers = `--length ${length} --batch ${batch} --distill-steps ${distillSteps} --finetune-steps ${finetuneSteps}`
  return `hedgehog convert ${model} --data ${text} --map ${map} --compare '' ${numbers} --seed ${seed}`
}
