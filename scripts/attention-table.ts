/**
 * Writes the tables of docs/attention.md: every feature map and kind of attention with its size and cost.
 * `npm run docs` after a change of src/attention, or after `npm run bench -- maps` was copied to docs/results/maps.json.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { featureMap, featureMaps } from '../src/attention/featureMaps.ts'
import { attentionKinds, attentionOf, planFor, planNamed } from '../src/attention/plan.ts'
import { countParams } from '../src/nn/params.ts'

const sizes = { heads: 12, headDim: 64 }
const page = fileURLToPath(new URL('../docs/attention.md', import.meta.url))
const results = fileURLToPath(new URL('../docs/results/maps.json', import.meta.url))

interface Measured {
  readonly case: string
  readonly value: number
}

/** The page with its tables made anew: what stands between a pair of markers is replaced. */
export function withTables(text: string): string {
  const rows: readonly Measured[] = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')).rows : []
  const value = (name: string) => rows.find((row) => row.case === name)?.value
  return between(between(between(text, 'maps', mapsTable()), 'kinds', kindsTable()), 'cost', costTable(value))
}

function between(text: string, name: string, table: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const [from, to] = [text.indexOf(start), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/attention.md: has no markers ${start} and ${end}`)
  return `${text.slice(0, from + start.length)}\n${table}\n${text.slice(to)}`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function mapsTable(): string {
  const rows = Object.entries(featureMaps).map(([name, { summary, source, argument, variants }]) => [
    `\`${name}\``,
    summary.replaceAll('|', '\\|'),
    String(featureMap(name).features(sizes.headDim)),
    parameters(name),
    stateOf(name),
    [argument ? `:${argument}` : '', ...variants.map((variant) => `+${variant}`)].filter(Boolean).join(' ') || '–',
    source,
  ])
  return table(['map', 'φ', 'features', 'parameters', 'state', 'choices', 'source'], rows)
}

function kindsTable(): string {
  const rows = Object.values(attentionKinds).map(({ form, summary }) => [`\`${form}\``, summary])
  return table(['name', 'what it computes'], rows)
}

function costTable(value: (name: string) => number | undefined): string {
  const names = ['softmax', ...Object.keys(featureMaps), 'hedgehog+half', 'hybrid:64', 'window:64:4', 'top-k:64']
  const shown = (name: string, digits: number) => value(name)?.toFixed(digits) ?? '–'
  const rows = names.map((name) => [
    `\`${name}\``,
    ...['fwd 1k', 'fwd 8k', 'fwd+bwd 1k', 'fwd+bwd 8k'].map((pass) => shown(`${name} ${pass}`, 1)),
    shown(`${name} fwd+bwd 8k peak`, 2),
  ])
  const head = ['', 'forward 1k, ms', 'forward 8k, ms', 'both 1k, ms', 'both 8k, ms', 'peak of both 8k, GB']
  return table(head, rows)
}

function parameters(name: string): string {
  const count = countParams(attentionOf(planNamed(name)).params(sizes))
  return count === 0 ? '–' : count.toLocaleString('en')
}

function stateOf(name: string): string {
  const memory = attentionOf(planFor(planNamed(name), 4096)).memory(sizes)
  const bytes = Object.values(memory.empty(1)).reduce((total, { data }) => total + data.byteLength, 0)
  return `${Math.round(bytes / 1000).toLocaleString('en')} kB`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(page, withTables(readFileSync(page, 'utf8')))
}
