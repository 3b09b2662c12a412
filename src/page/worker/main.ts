/** The worker's program: runs the jobs that the page starts, all of them in one thread. */

import { isEngineFault } from '../../web/faults.ts'
import type { FromWorker, JobName, ToWorker } from '../protocol.ts'
import { openHost } from './host.ts'
import type { WorkerJob } from './job.ts'
import { jobs } from './jobs.ts'

const host = openHost(new URL('./', import.meta.url).href)
const running = new Map<number, AbortController>()
const tell = (message: FromWorker) => postMessage(message)

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'stop') running.get(data.id)?.abort()
  else void serve(data.id, data.name, data.input)
})

async function serve(id: number, name: JobName, input: unknown): Promise<void> {
  const control = new AbortController()
  running.set(id, control)
  try {
    const job = (jobs[name] as WorkerJob<JobName>)(input as never, host, control.signal)
    const result = Symbol.asyncIterator in job ? await told(id, job) : await job
    tell({ kind: 'done', id, result })
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error))
    // An abort that a job did not turn into words of its own is a stop like any other.
    const kind = isEngineFault(error) ? 'EngineFault' : name === 'AbortError' ? 'Interrupted' : name
    tell({ kind: 'failed', id, name: kind, message })
  } finally {
    running.delete(id)
  }
}

/** Runs a job that tells how it goes. */
async function told<T>(id: number, job: AsyncGenerator<unknown, T, void>): Promise<T> {
  for (;;) {
    const next = await job.next()
    if (next.done) return next.value
    tell({ kind: 'news', id, news: next.value })
    await breath()
  }
}

/** Lets messages in: the engine's promises settle without a turn of the event loop. */
function breath(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
}
