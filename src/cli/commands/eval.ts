/** `hedgehog eval`: perplexity of a model on text, or the metrics that are asked for. */

import { UsageError } from '../../base/errors.ts'
import { formatMetric } from '../../base/format.ts'
import { checkMetrics } from '../../evaluate/taskMetrics.ts'
import { createForward } from '../../execute/forward.ts'
import { scoreJob } from '../../execute/perplexity.ts'
import { encodeDocuments, heldOut } from '../../io/batches.ts'
import { checkpointDigest } from '../../io/checkpoint.ts'
import type { Source } from '../../io/files.ts'
import { type Measured, type MetricName, metrics } from '../../metrics/metrics.ts'
import { loadConfig, writeJson } from '../../models/folder.ts'
import { tokenizerOf } from '../../models/writing.ts'
import { openDevice } from '../../node/device.ts'
import { openSource } from '../../node/source.ts'
import type { Context, Outcome, Run } from '../command.ts'
import { type EvalOptions, evaluations, lengthFor } from '../evaluations.ts'
import { clock, filesDigest, openModel, readTexts } from '../inputs.ts'
import { type BegunJob, openJob } from '../job.ts'
import type { evalOptions } from '../optionTables.ts'
import { openStreamed } from '../streaming.ts'

const resultFile = 'eval.json'

export const run: Run<typeof evalOptions, 'model'> = async (context, { model: path }, options) => {
  const { out, force, resume, ...asked } = options
  if (options.memory !== undefined && options.metric)
    throw new UsageError('--memory: only perplexity; leave out --metric')
  if (!out && (force || resume)) throw new UsageError(`--${resume ? 'resume' : 'force'}: wants --out too`)
  const folder = out && (await openJob(context, { out, force, resume }, resultFile))
  const source = await context.run(openSource(path))
  const settings = folder && { ...asked, model: await checkpointDigest(source), data: await filesDigest(options.data) }
  const job = folder && settings ? await folder.begin(settings) : undefined
  if (job?.finished) return job.finished.outcome as Outcome
  const outcome = await (options.metric ? measure : perplexity)(context, source, path, options, job)
  await job?.finish((sink) => writeJson(sink, resultFile, { outcome, settings }))
  return outcome
}

async function perplexity(
  context: Context,
  source: Source,
  path: string,
  options: EvalOptions,
  job: BegunJob | undefined,
): Promise<Outcome> {
  const { batch = 8, maxTokens, memory } = options
  const streamed = memory && (await openStreamed(context, path, source, options))
  const { model, tokenizer } = streamed
    ? { model: streamed.model, tokenizer: await tokenizerOf(source, streamed.model.config) }
    : await openModel(path, context)
  const length = lengthFor(model.config, options, 256)
  const tokens = encodeDocuments(tokenizer, await readTexts(options.data)).subarray(0, maxTokens)
  const device = await openDevice(options.device as 'cpu')
  const planned = streamed ? streamed.plan({ batch, length, learned: 0, pass: 'score' }) : undefined
  const forward = createForward(device, model.config, planned && { blocks: planned.streams.blocks })
  const measured = [...heldOut(tokens, { length, batch })]
  const { signal } = context
  const settings = { phase: 'score', clock, signal, ...(job && { ledger: job.ledger }) }
  const score = await (job ?? context).run(scoreJob(forward, model.params, measured, settings))
  await forward.dispose()
  await planned?.dispose()
  return {
    value: { model: path, ...score },
    text:
      `perplexity ${score.perplexity.toFixed(2)} (loss ${score.loss.toFixed(4)} nats) on ${score.tokens} tokens, ` +
      `${length} at a time`,
  }
}

/** Measures the metrics, which must all need the same. */
async function measure(
  context: Context,
  folder: Source,
  path: string,
  options: EvalOptions,
  job: BegunJob | undefined,
): Promise<Outcome> {
  const names: readonly MetricName[] = options.metric ?? []
  const config = await loadConfig(folder)
  asUsage(() => checkMetrics(names, config.task, '--metric'))
  const { needs } = metrics[names[0]!]
  const other = names.find((name) => metrics[name].needs !== needs)
  if (other) {
    throw new UsageError(
      `--metric: ${names[0]} needs ${needs}, ${other} needs ${metrics[other].needs}; measure them one after the other`,
    )
  }
  const { input, facts, on } = await evaluations[needs](
    context,
    { name: path, folder, config, ...(job && { job }) },
    options,
  )
  const found = names.map((name) => [name, metrics[name].measure(input as never)] as const)
  return {
    value: { model: path, ...facts, metrics: Object.fromEntries(found) },
    text: [...found.map(([name, measured]) => inWords(name, measured)), `on ${on}`].join('\n'),
  }
}

function inWords(name: string, { value, parts = {} }: Measured): string {
  const more = Object.entries(parts).map(([part, number]) => `  ${part} ${formatMetric(number)}`)
  return [`${name} ${formatMetric(value)}`, ...more].join('\n')
}

function asUsage(check: () => void): void {
  try {
    check()
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error })
  }
}
