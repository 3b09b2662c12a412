/** Descriptions of a sharded distillation for clusters: Slurm job arrays and Kubernetes indexed Jobs, as text. */

/** What is to be run on many machines. */
export interface ClusterJob {
  /** How hedgehog is started there, e.g. `hedgehog` or `npx hedgehog`. */
  readonly program: string
  readonly model: string
  /** The folder of all shards, which all machines see. */
  readonly out: string
  readonly shards: number
  /** Further words of `hedgehog distill`, quoted for a shell. */
  readonly words: readonly string[]
  readonly cpus: number
  /** For Slurm's --mem and Kubernetes' limits, in bytes. */
  readonly memory?: number
  /** For Slurm's --time, e.g. 24:00:00. */
  readonly time?: string
  readonly partition?: string
  /** For Kubernetes: the container image, and the volume claim that is mounted at /data. */
  readonly image?: string
  readonly claim?: string
}

/** Where the merged model is written, below the folder of the shards. */
export const mergedFolder = (out: string): string => `${out}/model`

/**
 * The script of a job array, one task for each shard. A task whose machine fails is queued again and goes on from its
 * last checkpoint, since the same line begins a shard and takes it up again.
 */
export function slurmArray(job: ClusterJob): string {
  const { program, model, out, shards, words, cpus, memory, time, partition } = job
  const head = [
    '--job-name=hedgehog-distill',
    `--array=1-${shards}`,
    '--requeue',
    '--open-mode=append',
    `--output=${out}/logs/shard-%a.log`,
    `--cpus-per-task=${cpus}`,
    ...(memory === undefined ? [] : [`--mem=${Math.ceil(memory / 2 ** 20)}M`]),
    ...(time === undefined ? [] : [`--time=${time}`]),
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
  ]
  const line = [program, 'distill', model, ...words, '--shard', `"$SLURM_ARRAY_TASK_ID/${shards}"`, '--out', out]
  return script(head, [...line, '--threads', String(cpus), '--quiet'])
}

/** The script that puts the shards together; it is to run after all tasks of the array. */
export function slurmMerge({ program, model, out, partition }: ClusterJob): string {
  const head = [
    '--job-name=hedgehog-merge',
    '--requeue',
    '--open-mode=append',
    `--output=${out}/logs/merge.log`,
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
  ]
  return script(head, [program, 'merge', model, out, '--out', mergedFolder(out), '--force'])
}

function script(head: readonly string[], line: readonly string[]): string {
  return `${['#!/bin/bash', ...head.map((option) => `#SBATCH ${option}`), `exec ${line.join(' ')}`].join('\n')}\n`
}

/** An indexed Job of Kubernetes, one pod for each shard, with the container's paths below /data. */
export function kubernetesJob(job: ClusterJob): string {
  const { program, model, out, shards, words, cpus, memory = 8 * 2 ** 30, image, claim } = job
  const shard = `"$((JOB_COMPLETION_INDEX + 1))/${shards}"`
  const line = [
    program,
    'distill',
    model,
    ...words,
    '--shard',
    shard,
    '--out',
    out,
    '--threads',
    String(cpus),
    '--quiet',
  ]
  return `# When it is complete: ${program} merge ${model} ${out} --out ${mergedFolder(out)}
apiVersion: batch/v1
kind: Job
metadata:
  name: hedgehog-distill
spec:
  completionMode: Indexed
  completions: ${shards}
  parallelism: ${shards}
  backoffLimit: ${10 * shards}
  template:
    spec:
      # A pod that fails is started again and goes on from the last checkpoint of its shard.
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 300
      containers:
        - name: distill
          image: ${image ?? 'IMAGE'}
          command: ["sh", "-c"]
          args:
            - exec ${line.join(' ')}
          resources:
            requests: { cpu: "${cpus}", memory: ${Math.ceil(memory / 2 ** 20)}Mi }
            limits: { memory: ${Math.ceil(memory / 2 ** 20)}Mi }
          volumeMounts:
            - { name: data, mountPath: /data }
      volumes:
        - name: data
          persistentVolumeClaim: { claimName: ${claim ?? 'CLAIM'} }
`
}
