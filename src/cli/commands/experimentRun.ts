/** `hedgehog experiment run`: one experiment, its measured rows beside the published ones; it resumes by itself. */

import { cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { planName, planNamed } from '../../attention/plan.ts'
import { UsageError } from '../../base/errors.ts'
import {
  type Experiment,
  type Resources,
  type Ledger as RowLedger,
  runExperiment,
  settingsOf,
} from '../../experiments/experiment.ts'
import { experimentNamed } from '../../experiments/table.ts'
import { writeJson } from '../../models/folder.ts'
import { openDevice } from '../../node/device.ts'
import { folderSource } from '../../node/files.ts'
import { readGrey, readPicture } from '../../node/images.ts'
import { openSource } from '../../node/source.ts'
import { experimentHtml, experimentText } from '../../report/experiment.ts'
import type { ResultRow } from '../../report/experimentTypes.ts'
import type { Context, Run } from '../command.ts'
import { clock, versions } from '../inputs.ts'
import { openJob, unforced } from '../job.ts'
import type { Values } from '../options.ts'
import type { experimentRunOptions } from '../optionTables.ts'
import { packagedCorpus } from '../packaged.ts'

type Options = Values<typeof experimentRunOptions>

const resultFile = 'result.json'

export const run: Run<typeof experimentRunOptions, 'name'> = async (context, { name }, options) => {
  const experiment = usage(() => experimentNamed(name))
  const { quick, force } = options
  const settings = usage(() => settingsOf(experiment, quick, options.set))
  const attentions = chosenAttentions(experiment, options)
  const out = options.out ?? join('runs', 'experiments', quick ? `${name}-quick` : name)
  const { seed } = context
  const { data, model } = options
  // Which attentions are compared is left out: finished rows serve another choice.
  const again = unforced(context.commandLine)
  const folder = await openJob(context, { out, force: true, resume: !force, again }, resultFile)
  const setup = {
    device: await openDevice(options.device, options.threads === undefined ? {} : { threads: options.threads }),
    ...{ quick, settings, attentions, seed, clock },
    signal: context.signal,
    resources: await resourcesOf(options, context),
  }
  const job = await folder.begin({ name, settings, seed, quick, data, model })
  const rows: RowLedger = {
    done: job.ledger.done as Readonly<Record<string, ResultRow>>,
    note: (row) => job.ledger.note(row.name, row),
  }
  const result = await job.run(runExperiment(name, experiment, { ...setup, store: job.stages }, rows))
  const { commandLine: command } = context
  const facts = { command, date: new Date().toISOString().slice(0, 10), machine: machine(), versions: versions() }
  await job.finish(async (sink) => {
    await writeJson(sink, resultFile, { ...facts, ...result })
    await sink.write('result.html', [new TextEncoder().encode(experimentHtml(result, command))])
  })
  const text = `${experimentText(result, context.columns)}\n${join(out, 'result.html')} shows it as a page`
  return { value: { out, ...facts, ...result }, text }
}

function chosenAttentions({ attentions }: Experiment, { compare }: Options): string[] {
  const named = (compare ?? attentions).map((text) => usage(() => planName(planNamed(text)), '--compare: '))
  // The names of the paper's own rows stay as the experiment writes them.
  return [...new Set(named.map((full, i) => (compare ?? attentions)[i] ?? full))]
}

async function resourcesOf({ data, model }: Options, context: Context): Promise<Resources> {
  return {
    ...(data && { data: folderSource(data) }),
    ...(model && { model: await context.run(openSource(model)) }),
    bundled: folderSource(fileURLToPath(new URL('../../../models/tiny', import.meta.url))),
    corpus: packagedCorpus,
    readPicture,
    readGrey,
  }
}

function machine(): string {
  return `${cpus()[0]?.model.trim() ?? process.arch}, ${cpus().length} cores`
}

/** What a library function refuses is here a wrong argument. */
function usage<T>(choose: () => T, where = ''): T {
  try {
    return choose()
  } catch (error) {
    throw new UsageError(`${where}${(error as Error).message}`)
  }
}
