/** SIGKILL at a few random moments; `npm run test:kill` does it hundreds of times to every long command. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fromSource, killed, prepare, suites } from './kills.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-kill-'))
  await prepare(folder, fromSource)
})
after(() => rm(folder, { recursive: true, force: true }))

describe('killed and begun again, it ends in the same files to the byte:', () => {
  for (const suite of suites.filter(({ name }) => name === 'train' || name === 'eval')) {
    it(`hedgehog ${suite.name}`, async () => {
      await killed(suite, folder, fromSource, { kills: 2, seed: 1 })
    })
  }
})
