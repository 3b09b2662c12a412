import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { floats } from '../../src/base/array.ts'
import { difference, probe } from '../../src/execute/probe.ts'
import { examine } from '../../src/node/doctor.ts'
import type { Device } from '../../src/runtime/device.ts'
import { device } from '../tensors.ts'

describe('the probe', () => {
  it('is the same twice on the CPU, and tells a device that computes wrongly', async () => {
    const want = await probe(device)
    assert.equal(difference(await probe(device), want).largest, 0)
    let runs = 0
    const wrong: Device = {
      name: 'wrong',
      async open(model) {
        const session = await device.open(model)
        return {
          ...session,
          async run(inputs, into) {
            const found = await session.run(inputs, into)
            runs += 1
            const [first] = Object.values(found)
            if (runs === 2 && first) first.data[0]! += 0.1
            return found
          },
        }
      },
    }
    assert.ok(difference(await probe(wrong), want).largest > 1e-3)
  })

  it('takes NaN for the largest of differences, and no notice of gradients that are rounding', () => {
    const want = { a: floats([2], [1, 2]), b: floats([1], [1e-9]) }
    assert.deepEqual(difference({ ...want, b: floats([1], [-1e-9]) }, want), { largest: 0, path: 'loss' })
    assert.ok(Number.isNaN(difference({ ...want, a: floats([2], [Number.NaN, 2]) }, want).largest))
    assert.deepEqual(difference({ ...want, a: floats([2], [1, 3]) }, want), { largest: 0.5, path: 'a' })
  })
})

it('doctor finds this machine healthy, and says what it has', async () => {
  let now = 0
  const health = await examine('.', () => now++ / 10, [])
  assert.deepEqual(health.problems, [])
  const [cpu] = health.providers
  assert.ok(cpu!.available && cpu!.repeats && cpu!.difference! < 1e-5)
  assert.ok(health.memory.usable > 0 && health.disk.free > 0 && health.threads >= 1)
})
