/**
 * `node --import tsx scripts/slurm.ts`, as root, with Debian's slurm-wlm and munge, after `npm run build`: starts a cluster of two
 * nodes on this machine, submits a distillation in shards, lets a node die in the middle of one, and compares what is merged
 * with the unsharded result.
 */

import { execFileSync, type StdioOptions, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'hedgehog-slurm-'))
const at = (...parts: readonly string[]) => join(folder, ...parts)
const conf = at('slurm.conf')
const env = { ...process.env, SLURM_CONF: conf }
const nodes = ['n1', 'n2']
const daemons: number[] = []

const run = (command: string, ...words: readonly string[]): string =>
  execFileSync(command, [...words], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
const hedgehog = (...words: readonly string[]) => run(process.execPath, main, ...words)

function start(command: string, ...words: readonly string[]): void {
  const stdio: StdioOptions = 'ignore'
  const child = spawn(command, [...words], { env, stdio, detached: true })
  daemons.push(child.pid!)
  child.unref()
}

function startCluster(): void {
  const host = hostname()
  for (const name of ['state', ...nodes]) mkdirSync(at(name))
  writeFileSync(
    conf,
    `ClusterName=hedgehog
SlurmctldHost=${host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=30
StateSaveLocation=${at('state')}
SlurmdSpoolDir=${folder}/%n
SlurmctldPidFile=${at('slurmctld.pid')}
SlurmdPidFile=${folder}/%n.pid
SlurmctldLogFile=${at('slurmctld.log')}
SlurmdLogFile=${folder}/%n.log
SlurmctldPort=16817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=20
NodeName=${nodes[0]} NodeHostname=${host} NodeAddr=127.0.0.1 Port=17003 CPUs=1
NodeName=${nodes[1]} NodeHostname=${host} NodeAddr=127.0.0.1 Port=17004 CPUs=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`,
  )
  if (!existsSync('/run/munge/munge.socket.2')) {
    mkdirSync('/run/munge', { recursive: true })
    run('chown', 'munge:munge', '/run/munge')
    run('chmod', '755', '/run/munge')
    start('runuser', '-u', 'munge', '--', 'munged', '--foreground')
  }
  start('slurmctld', '-D', '-f', conf)
  for (const node of nodes) startNode(node)
}

function startNode(node: string): void {
  start('slurmd', '-D', '-N', node, '-f', conf)
}

/** Ends a node with all that runs on it, as a machine that loses its power. */
function killNode(node: string): void {
  const isOf = (words: string) => words.includes(`slurmd\0-D\0-N\0${node}\0`) || words.includes(`${node}.hedgehog`)
  const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
  const killed = pids.filter((pid) => {
    try {
      const isTask = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`SLURMD_NODENAME=${node}\0`)
      const isOurs = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(conf) || isTask
      return isOurs && (isTask || isOf(readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
    } catch {
      return false
    }
  })
  for (const pid of killed) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {}
  }
  run('scontrol', 'update', `nodename=${node}`, 'state=down', 'reason=died')
}

async function until(what: string, holds: () => boolean, seconds: number): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !holds(); await wait(200)) {
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s\n${run('squeue', '-a')}\n${run('sinfo')}`)
  }
}

/** Runs `work` and says how long it took. */
async function told(what: string, work: () => unknown): Promise<void> {
  const began = Date.now()
  await work()
  console.log(`${what}: ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

try {
  await told('cluster', async () => {
    startCluster()
    const idle = () => {
      try {
        return run('sinfo', '-h', '-t', 'idle', '-o', '%D') === '2'
      } catch {
        return false
      }
    }
    await until('two idle nodes', idle, 180)
  })
  const lines = Array.from(
    { length: 60 },
    (_, i) => `the old house ${i} stands near a quiet river and its door is green`,
  )
  writeFileSync(at('text.txt'), `${lines.join('\n')}\n`)
  const shape = '--layers 4 --width 32 --heads 2 --length 32 --vocab 270 --batch 2 --steps 2 --quiet'.split(' ')
  hedgehog('train', '--data', at('text.txt'), '--out', at('model'), ...shape)
  const recipe = [
    '--data',
    at('text.txt'),
    '--length',
    '32',
    '--batch',
    '4',
    '--steps',
    '3000',
    '--checkpoint-every',
    '50',
  ]
  await told('unsharded', () =>
    hedgehog('distill', at('model'), ...recipe, '--out', at('whole'), '--threads', '1', '--quiet'),
  )
  const program = `${process.execPath} ${main}`
  const words = ['--shards', '4', '--out', at('parts'), '--cpus', '1', '--slurm', '--program', program, '--json']
  const { array, merge } = JSON.parse(
    hedgehog('submit', at('model'), ...recipe, ...words)
      .split('\n')
      .at(-1)!,
  )
  console.log(`array ${array}, merge ${merge}`)

  const victim = nodes[0]!
  const task = () => run('squeue', '-h', '-w', victim, '-t', 'running', '-o', '%K').split('\n')[0] ?? ''
  const steps = (shard: string): number[] => {
    const work = at('parts', `shard-${shard}-of-4`, 'work')
    const files = existsSync(work) ? readdirSync(work) : []
    return files.flatMap((file) => Number(/\.step-(\d+)\./.exec(file)?.[1] ?? [])).sort((a, b) => a - b)
  }
  const isFarEnough = () => (steps(task()).at(-1) ?? 0) >= 300
  await until('a task after 300 steps', isFarEnough, 300)
  const shard = task()
  killNode(victim)
  const left = steps(shard)
  console.log(`node ${victim} died in shard ${shard}, which left checkpoints of the steps ${left.join(', ')}`)
  await until('the task in the queue again', () => run('squeue', '-h', '-w', victim) === '', 60)
  await wait(2000)
  startNode(victim)
  run('scontrol', 'update', `nodename=${victim}`, 'state=resume')
  await told('waiting for its second start', async () => {
    const next = () => steps(shard).find((step) => !left.includes(step))
    // Slurm holds a task back until the credentials of its first start have expired.
    await until('its next checkpoint', () => next() !== undefined, 300)
    if (next()! < left.at(-1)!) throw new Error(`shard ${shard} begins anew: it has a checkpoint of step ${next()}`)
    console.log(`shard ${shard} goes on: its next checkpoint is that of step ${next()}`)
  })
  await told('shards and merge', () => until('an empty queue', () => run('squeue', '-h', '-a') === '', 600))
  const merged = readFileSync(at('parts/model/model.safetensors'))
  if (!merged.equals(readFileSync(at('whole/model.safetensors')))) throw new Error('the merged model is another')
  const log = readFileSync(at('slurmctld.log'), 'utf8')
  const again = log.match(/Requeuing JobId=\S+/g) ?? []
  if (again.length !== 1) throw new Error(`want one task that was queued again, got ${again.join(', ') || 'none'}`)
  console.log(`the merged model is the unsharded one, all ${merged.length} bytes`)
} catch (error) {
  console.error((error as Error).message)
  for (const file of ['slurmctld.log', 'n1.log', 'parts/logs/merge.log']) {
    if (existsSync(at(file))) console.error(`${file}:\n${readFileSync(at(file), 'utf8').slice(-2000)}`)
  }
  process.exitCode = 1
} finally {
  for (const pid of daemons.reverse()) {
    try {
      process.kill(-pid, 'SIGTERM')
    } catch {}
  }
  await wait(1000)
  rmSync(folder, { recursive: true, force: true })
}
