/** `hedgehog doctor`: what the machine offers, and whether its execution providers compute rightly. */

import { formatBytes, formatSeconds } from '../../base/format.ts'
import { examine, type Health, type ProviderHealth } from '../../node/doctor.ts'
import type { Run } from '../command.ts'
import { clock, versions } from '../inputs.ts'
import type { doctorOptions } from '../optionTables.ts'

export const run: Run<typeof doctorOptions> = async (context) => {
  const health = await examine(process.cwd(), clock)
  const value = { versions: versions(), ...health }
  const text = textOf(value)
  if (health.problems.length === 0) return { value, text }
  context.write(`${text}\n`)
  throw new Error(`doctor: ${health.problems.join('; ')}`)
}

function textOf({ versions: found, ...health }: Health & { readonly versions: Record<string, string> }): string {
  const { platform, processor, cores, threads, memory, disk, providers, problems } = health
  const lines = [
    [
      'versions',
      Object.entries(found)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    ['machine', `${platform}, ${processor}`],
    ['threads', `${threads} of ${cores} cores`],
    ['memory', `${formatBytes(memory.usable)} can be used of ${formatBytes(memory.total)}`],
    ['disk', `${formatBytes(disk.free)} free of ${formatBytes(disk.total)} at ${disk.folder}`],
    ...providers.map((one) => [one.name, providerText(one)] as const),
    ['healthy', problems.length === 0 ? 'yes' : 'no'],
  ] as const
  return lines.map(([name, line]) => `${name.padEnd(9)} ${line}`).join('\n')
}

function providerText({
  available,
  note,
  difference = 0,
  repeats,
  seconds = 0,
  gigaflops = 0,
}: ProviderHealth): string {
  if (!available) return `not available: ${note}`
  const parts = [
    `probe in ${formatSeconds(seconds)}, within ${difference.toExponential(1)} of one CPU thread`,
    repeats ? 'the same twice' : 'not the same twice',
  ]
  if (gigaflops !== undefined) parts.push(`products at ${gigaflops.toFixed(gigaflops < 10 ? 1 : 0)} GFLOP/s`)
  return [...parts, ...(note ? [note] : [])].join('; ')
}
