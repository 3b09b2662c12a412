/** `npm run bench -- NAME [--quick] [--part PART] [--json]`: runs one bench of the table, prints it and keeps it in results/. */

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { formatBytes } from '../src/base/format.ts'
import { versions } from '../src/cli/inputs.ts'
import { adamwBench } from './adamw.ts'
import { attentionBench } from './attention.ts'
import { decodeBench, decodeLlamaBench } from './decode.ts'
import { distillBench } from './distill.ts'
import { leaksBench } from './leaks.ts'
import { loadingBench } from './loading.ts'
import { loraBench } from './lora.ts'
import { mapsBench } from './maps.ts'
import { memoryBench } from './memory.ts'
import { pageBench } from './page.ts'
import { resumeBench } from './resume.ts'
import type { Bench, Row } from './row.ts'
import { startBench } from './start.ts'
import { startupBench } from './startup.ts'
import { streamedBench } from './streamed.ts'
import { tableText } from './table.ts'
import { trainStepBench } from './trainStep.ts'

const benches: Readonly<Record<string, Bench>> = {
  'train-step': trainStepBench,
  memory: memoryBench,
  distill: distillBench,
  lora: loraBench,
  attention: attentionBench,
  maps: mapsBench,
  decode: decodeBench,
  'decode-llama': decodeLlamaBench,
  loading: loadingBench,
  leaks: leaksBench,
  adamw: adamwBench,
  page: pageBench,
  streamed: streamedBench,
  resume: resumeBench,
  startup: startupBench,
  start: startBench,
}

const results = fileURLToPath(new URL('results/', import.meta.url))

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  const names = Object.keys(benches)
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(argv)
  } catch (error) {
    return usage((error as Error).message)
  }
  const { values, positionals } = parsed
  const [name] = positionals
  if (name === undefined) {
    console.log(values.json ? JSON.stringify({ names }) : listText())
    return 0
  }
  const bench = Object.hasOwn(benches, name) ? benches[name] : undefined
  if (!bench || positionals.length > 1) return usage(`got ${positionals.join(' ')}, want one of ${names.join(', ')}`)
  const { quick, part } = values
  if (part !== undefined && !bench.parts?.includes(part)) {
    return usage(`${name}: got part ${part}, want ${bench.parts?.join(' or ') ?? 'none, it is measured as a whole'}`)
  }
  const note = (message: string) => (values.json ? console.log(JSON.stringify({ message })) : console.error(message))
  try {
    const found = await bench.run({ quick, note, ...(part !== undefined && { part }) })
    const rows = part === undefined ? found : await besideOtherParts(name, part, found)
    const command = `npm run bench -- ${part === undefined ? argv.join(' ') : `${name} --part …`}`
    const result = { name, machine: machine(), command, rows }
    await mkdir(results, { recursive: true })
    await writeFile(`${results}${name}.json`, `${JSON.stringify(result, null, 2)}\n`)
    console.log(values.json ? JSON.stringify(result) : `${tableText(rows)}\ntarget: ${bench.target}\n${result.machine}`)
    return 0
  } catch (error) {
    console.error(`bench ${name}: ${(error as Error).message}`)
    return 1
  }
}

/** The rows of a part in the place of those that it had before, beside those of other parts. */
async function besideOtherParts(name: string, part: string, found: readonly Row[]): Promise<Row[]> {
  const text = await readFile(`${results}${name}.json`, 'utf8').catch(() => '{"rows":[]}')
  const known = (JSON.parse(text) as { readonly rows: readonly Row[] }).rows
  return [...known.filter((row) => !` ${row.case} `.includes(` ${part} `)), ...found]
}

function parse(args: readonly string[]) {
  const options = {
    quick: { type: 'boolean', default: false },
    part: { type: 'string' },
    json: { type: 'boolean', default: false },
  } as const
  return parseArgs({ args: [...args], options, allowPositionals: true })
}

function usage(message: string): number {
  console.error(`bench: ${message}`)
  return 2
}

function listText(): string {
  const width = Math.max(...Object.keys(benches).map((name) => name.length))
  return Object.entries(benches)
    .map(([name, { summary }]) => `${name.padEnd(width)}  ${summary}`)
    .join('\n')
}

function machine(): string {
  const { node, onnxruntime } = versions()
  const model = cpus()[0]?.model.trim() ?? process.arch
  const memory = formatBytes(totalmem())
  return `${model}, ${cpus().length} cores, ${memory}; Node ${node}, onnxruntime ${onnxruntime}`
}
