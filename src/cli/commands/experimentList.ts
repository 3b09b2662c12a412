/** `hedgehog experiment list`: the experiments with their data and settings. */

import type { Experiment } from '../../experiments/experiment.ts'
import { experiments } from '../../experiments/table.ts'
import { datasets } from '../../tasks/datasets.ts'
import type { Run } from '../command.ts'
import type { experimentListOptions } from '../optionTables.ts'

export const run: Run<typeof experimentListOptions> = async (context) => {
  const value = Object.entries(experiments).map(([name, { cases: _, ...facts }]) => ({ name, ...facts }))
  const text = Object.entries(experiments).map(([name, experiment]) => describe(name, experiment, context.columns))
  return { value, text: text.join('\n') }
}

function describe(name: string, { title, source, data, settings }: Experiment, columns: number): string {
  const values = Object.entries(settings).map(
    ([key, { value, origin }]) => `${key}=${value}${origin === 'chosen' ? '' : '*'}`,
  )
  return [
    `${name}`,
    ...wrapped(`${title} (${source})`, columns),
    ...wrapped(`data: ${data.about}${whereFrom(data.datasets)}`, columns),
    ...wrapped(`settings (* as published): ${values.join(' ')}`, columns),
    '',
  ].join('\n')
}

function whereFrom(names: readonly string[] = []): string {
  const found = names.map((name) => datasets[name as keyof typeof datasets])
  if (found.length === 0) return ''
  return `; --data ${found.map(({ folder, url }) => `${folder} of ${url}`).join(', or ')}`
}

function wrapped(text: string, columns: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= columns) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(`  ${word}`)
  }
  return lines
}
