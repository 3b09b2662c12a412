/** The case that the loading bench runs in a process of its own; it imports nothing that loading does not need. */

import type { Params } from '../src/base/array.ts'
import { finish } from '../src/base/progress.ts'
import { loadModel } from '../src/models/folder.ts'
import { openSource } from '../src/node/source.ts'
import type { Cases } from './measure.ts'

/** Loads once while it is prepared, so that its peak is that of one load; a round tells the seconds it took. */
const kept: Params[] = []

export const cases = {
  async load({ folder }: { folder: string }) {
    const began = performance.now()
    const { params } = await loadModel(await finish(openSource(folder)))
    kept.push(params)
    const seconds = (performance.now() - began) / 1000
    return async () => seconds
  },
} satisfies Cases
