/** What this machine offers a conversion, and whether it computes rightly: the facts behind `hedgehog doctor`. */

import { fork } from 'node:child_process'
import { statfs } from 'node:fs/promises'
import { availableParallelism, cpus, freemem, tmpdir, totalmem } from 'node:os'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { difference, probe, productRate } from '../execute/probe.ts'
import type { Device } from '../runtime/device.ts'
import { type DeviceName, deviceNames, openDevice } from './device.ts'
import { freeMemory } from './freeMemory.ts'
import { softwareAdapter } from './softwareAdapter.ts'

/** One execution provider. */
export interface ProviderHealth {
  readonly name: string
  readonly available: boolean
  /** Why not, or by what it computes. */
  readonly note?: string
  /** The largest difference of the probe to one thread of the CPU, as a share of each array's largest value. */
  readonly difference?: number
  /** The array with that difference. */
  readonly worst?: string
  /** Whether two runs give the same to the bit, which resumed jobs rely on. */
  readonly repeats?: boolean
  /** Seconds that the probe took, its sessions opened. */
  readonly seconds?: number
  /** Products of matrices, in billions of operations a second. */
  readonly gigaflops?: number
}

/** Everything that is looked at. */
export interface Health {
  readonly platform: string
  readonly processor: string
  readonly cores: number
  /** Threads that an operator is shared out to by default. */
  readonly threads: number
  /** Bytes. */
  readonly memory: { readonly total: number; readonly free: number; readonly usable: number }
  /** Bytes, of the file system that a folder is on. */
  readonly disk: { readonly folder: string; readonly total: number; readonly free: number }
  readonly providers: readonly ProviderHealth[]
  /** What is wrong, one line each; none on a healthy machine. */
  readonly problems: readonly string[]
}

/** All providers but the one that everything stands on. */
const besidesCpu: readonly DeviceName[] = deviceNames.filter((name) => name !== 'cpu')
/** The largest difference that two right providers have. */
const tolerated = 1e-3
/** Free disk below which a job of any size soon fails. */
const leastDisk = 1e9

/** Looks at the machine. @param folder where results would go. @param others providers to examine besides the CPU. */
export async function examine(folder: string, clock: () => number, others = besidesCpu): Promise<Health> {
  const providers = [await providerHealth('cpu', clock), ...(await Promise.all(others.map(apart)))]
  const { bsize, blocks, bavail } = await statfs(folder)
  const health = {
    platform: `${process.platform} ${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    threads: availableParallelism(),
    memory: { total: totalmem(), free: freemem(), usable: freeMemory() },
    disk: { folder, total: bsize * blocks, free: bsize * bavail },
    providers,
  }
  return { ...health, problems: problemsOf(health) }
}

/** A provider examined in a process of its own, since some end theirs; in software where there is no adapter. */
async function apart(name: DeviceName): Promise<ProviderHealth> {
  const found = await child(name, {})
  const software = softwareAdapter()
  if (found.available || name === 'cpu' || !software || process.env.VK_ICD_FILENAMES) return found
  const emulated = await child(name, { VK_ICD_FILENAMES: software })
  return emulated.available ? { ...emulated, note: 'by SwiftShader, in software: no GPU was found' } : found
}

function child(name: DeviceName, env: Readonly<Record<string, string>>): Promise<ProviderHealth> {
  const module = fileURLToPath(new URL(`./doctorChild${extname(import.meta.url)}`, import.meta.url))
  const own = { XDG_RUNTIME_DIR: tmpdir(), ...process.env, ...env }
  const forked = fork(module, [name], { silent: true, env: own })
  return new Promise((resolve) => {
    forked.on('message', (message) => resolve(message as ProviderHealth))
    forked.on('exit', (code, signal) => resolve({ name, available: false, note: `it ended with ${signal ?? code}` }))
  })
}

/** What a provider makes of the probe. */
export async function providerHealth(name: DeviceName, clock: () => number): Promise<ProviderHealth> {
  let device: Device
  try {
    device = await openDevice(name)
  } catch (error) {
    return { name, available: false, note: (error as Error).message }
  }
  try {
    const want = await probe(await openDevice('cpu', { threads: 1 }))
    const began = clock()
    const first = await probe(device)
    const seconds = clock() - began
    const { largest, path } = difference(first, want)
    const repeats = difference(await probe(device), first).largest === 0
    // In software, products take minutes.
    const gigaflops = seconds < 5 && { gigaflops: await productRate(device, clock) }
    return { name, available: true, difference: largest, worst: path, repeats, seconds, ...gigaflops }
  } catch (error) {
    return { name, available: false, note: `fails on the probe: ${(error as Error).message}` }
  }
}

function problemsOf({ disk, providers }: Omit<Health, 'problems'>): string[] {
  const problems: string[] = []
  for (const { name, available, difference: apart = 0, worst, repeats, note } of providers) {
    if (name === 'cpu' && !available) problems.push(`cpu: ${note}; install onnxruntime-node anew`)
    if (available && !(apart <= tolerated)) {
      problems.push(
        `${name}: computes ${worst} wrongly, by ${apart.toExponential(1)} of its largest value; do not use it`,
      )
    }
    if (name === 'cpu' && available && !repeats) {
      problems.push('cpu: two runs differ; resumed jobs will not be those that nobody interrupted: use --threads 1')
    }
  }
  if (disk.free < leastDisk)
    problems.push(`disk: ${Math.round(disk.free / 1e6)} MB are left on ${disk.folder}; make room`)
  return problems
}
