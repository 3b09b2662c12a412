/** `hedgehog export`: a model written for other programs, after its logits were compared. */

import { basename, join, resolve } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { formatBytes } from '../../base/format.ts'
import type { Exported } from '../../deploy/target.ts'
import { exportModel, exportTargets, type TargetName } from '../../deploy/targets.ts'
import type { Sink } from '../../io/files.ts'
import { loadTokenizer } from '../../io/tokenizer.ts'
import { openModelFiles } from '../../models/files.ts'
import { openDevice, openModelFile } from '../../node/device.ts'
import { folderSource } from '../../node/files.ts'
import { openSource } from '../../node/source.ts'
import type { Run } from '../command.ts'
import { makeFolder, openOutput, writeTogether } from '../inputs.ts'
import type { exportOptions } from '../optionTables.ts'

export const run: Run<typeof exportOptions, 'model'> = async (context, args, given) => {
  const to = given.to as TargetName
  const out = given.out ?? `${basename(resolve(args.model)).replace(/\.gguf$/, '')}-${to}`
  if (resolve(args.model) === resolve(out)) throw new UsageError(`--out: ${out} is the model; choose another folder`)
  await openOutput(out, { replace: given.force, resumes: false })
  const { dtype: type, attention, positions, inexact } = given
  const options = {
    ...(type && { type }),
    ...(attention && { attention }),
    ...(positions && { positions }),
    ...(inexact && { inexact }),
  }
  checkOptions(to, options)
  const source = await context.run(openSource(args.model))
  const files = await openModelFiles(source)
  const model = { ...files, read: stoppable(files.read, context.signal) }
  const tokenizer = await loadTokenizer(source)
  const device = await openDevice('cpu')
  await makeFolder(out)
  let done: Exported | undefined
  await writeTogether(out, async (beside) => {
    const sink = stoppableSink(beside, context.signal)
    const folder = folderSource(beside.name)
    const written = { ...folder, read: stoppable(folder.read, context.signal) }
    const open = (file: string) => openModelFile(join(beside.name, file), 'cpu', { optimized: false })
    done = await exportModel(to, { model, tokenizer, source, sink, written, open, device, options })
    context.signal.throwIfAborted()
  })
  return { value: { out, to, ...done! }, text: textOf(out, done!) }
}

/** A read that ends with the signal. */
function stoppable<A extends readonly unknown[], R>(read: (...given: A) => Promise<R>, signal: AbortSignal) {
  return async (...given: A): Promise<R> => {
    signal.throwIfAborted()
    return read(...given)
  }
}

/** A sink whose writes end with the signal, between two weights. */
function stoppableSink(sink: Sink, signal: AbortSignal): Sink {
  async function* watched(parts: Parameters<Sink['write']>[1]) {
    for await (const part of parts) {
      signal.throwIfAborted()
      yield part
    }
  }
  return {
    name: sink.name,
    async write(path, parts) {
      try {
        await sink.write(path, watched(parts))
      } catch (error) {
        signal.throwIfAborted()
        throw error
      }
    },
  }
}

/** @throws UsageError for an option that a target does not take. */
function checkOptions(to: TargetName, options: object): void {
  const flags: Readonly<Record<string, string>> = { type: 'dtype' }
  const takes: readonly string[] = exportTargets[to].takes
  const wrong = Object.keys(options).find((name) => !takes.includes(name))
  if (wrong === undefined) return
  const known = takes.map((name) => `--${flags[name] ?? name}`).join(', ') || 'none of these'
  throw new UsageError(`--${flags[wrong] ?? wrong}: --to ${to} does not take it, want ${known}`)
}

function textOf(out: string, { files, exact, changed, differences = [] }: Exported): string {
  const width = Math.max(...files.map(({ path }) => path.length))
  const lines = files.map(({ path, bytes }) => `  ${path.padEnd(width)}  ${formatBytes(bytes)}`)
  const checked = exact && `logits: within ${exact.logits.toExponential(1)} of the largest one of the model's`
  // A difference that storage makes is several times what arithmetic makes.
  const isRounded = exact && changed && changed.logits > 4 * exact.logits
  const rounded =
    isRounded && `, with its weights as stored; KL to the model as it was: ${changed.kl.toPrecision(2)} nats`
  return [
    out,
    ...lines,
    ...(checked ? [`${checked}${rounded || ''}`] : []),
    ...differences.map((one) => `differs: ${one}`),
  ].join('\n')
}
