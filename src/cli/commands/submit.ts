/** `hedgehog submit`: a distillation in shards, written down for a cluster and handed to it. */

import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { UsageError } from '../../base/errors.ts'
import { folderSink } from '../../node/files.ts'
import { type ClusterJob, kubernetesJob, mergedFolder, slurmArray, slurmMerge } from '../clusters.ts'
import type { Outcome, Run } from '../command.ts'
import { flagOf, type Values } from '../options.ts'
import { distillOptions, type submitOptions } from '../optionTables.ts'

type Options = Values<typeof submitOptions>

/** Options of `hedgehog distill` that the description sets itself. */
const own = new Set(['shard', 'out', 'threads', 'force'])

export const run: Run<typeof submitOptions, 'model'> = async (context, { model }, options) => {
  if (options.slurm === options.kubernetes) throw new UsageError('submit: want one of --slurm and --kubernetes')
  const job = jobOf(model, options, context.seed)
  return options.slurm ? slurm(job, options.dryRun) : kubernetes(job)
}

function jobOf(model: string, options: Options, seed: number): ClusterJob {
  const { out, shards, cpus, memory, time, partition, image, claim, program } = options
  // A cluster's machines have other working folders; those of a container have other paths altogether.
  const place = (path: string) => (options.slurm && !/^(hub:|[\w.-]+:)/.test(path) ? resolve(path) : path)
  const words = Object.entries(distillOptions)
    .filter(([name]) => !own.has(name))
    .flatMap(([name, option]) => {
      const value = (options as Readonly<Record<string, unknown>>)[name]
      if (value === undefined || value === option.initial) return []
      const texts = [value].flat().map(String)
      const isPath = name === 'data' || name === 'validation'
      return [flagOf(name), ...texts.map((text) => quoted(isPath ? place(text) : text))]
    })
  return {
    ...{ program, shards, cpus, model: quoted(place(model)), out: quoted(place(out)) },
    words: [...words, ...(seed === 0 ? [] : ['--seed', String(seed)])],
    ...(memory !== undefined && { memory: memory * 1.1 }),
    ...(time !== undefined && { time }),
    ...(partition !== undefined && { partition }),
    ...(image !== undefined && { image }),
    ...(claim !== undefined && { claim }),
  }
}

async function slurm(job: ClusterJob, dryRun: boolean): Promise<Outcome> {
  const dir = resolve(job.out)
  const sink = folderSink(dir)
  await mkdir(join(dir, 'logs'), { recursive: true })
  const files = [join(dir, 'distill.sbatch'), join(dir, 'merge.sbatch')] as const
  await sink.write('distill.sbatch', [new TextEncoder().encode(slurmArray(job))])
  await sink.write('merge.sbatch', [new TextEncoder().encode(slurmMerge(job))])
  const commands = [`sbatch ${files[0]}`, `sbatch --dependency=afterok:ID ${files[1]}`]
  if (dryRun) return { value: { files }, text: `written: ${files.join(', ')}; submit with ${commands.join(', then ')}` }
  const array = await sbatch(['--parsable', files[0]])
  const merge = await sbatch(['--parsable', `--dependency=afterok:${array}`, files[1]])
  const merged = mergedFolder(job.out)
  return {
    value: { files, array, merge, merged },
    text: `job ${array} distils ${job.shards} shards, job ${merge} then writes ${merged}; squeue shows them`,
  }
}

async function kubernetes(job: ClusterJob): Promise<Outcome> {
  const text = kubernetesJob(job)
  return { value: { description: text }, text }
}

async function sbatch(words: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('sbatch', [...words])
    return stdout.trim().split(';')[0]!
  } catch (error) {
    const { code, stderr } = error as { readonly code?: string; readonly stderr?: string }
    if (code === 'ENOENT') throw new Error('sbatch: is not on this machine; pass --dry-run and submit where it is')
    throw new Error(`sbatch: ${stderr?.trim() || (error as Error).message}`)
  }
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
