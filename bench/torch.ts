/** PyTorch's training step of the same model, where a Python that has it is named by HEDGEHOG_PYTHON. */

import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const script = fileURLToPath(new URL('../scripts/peers/torch_step.py', import.meta.url))

/** What the script measured. */
export interface TorchStep {
  readonly seconds: number
  readonly peak: number
  /** The form of attention that was fastest. */
  readonly form: string
  readonly version: string
}

/** Measures a few steps in a new process; `form` is one that an earlier run found to be fastest. @throws Error */
export async function torchStep(python: string, attention: 'softmax' | 'hedgehog', form = 'best'): Promise<TorchStep> {
  const threads = String(availableParallelism())
  const args = ['--attention', attention, '--form', form, '--threads', threads, '--clip', '1']
  const { stdout } = await promisify(execFile)(python, [script, ...args, '--warmup', '1', '--steps', '2'])
  const found = JSON.parse(stdout.trim().split('\n').at(-1)!)
  return {
    seconds: found.medianSeconds,
    peak: found.peakMemoryBytes,
    form: found.case.split('/')[2],
    version: found.torch.split('+')[0],
  }
}
