/** The model's thread: opens the model, runs jobs in one batch, and tells of each as it goes. */

import { parentPort, workerData } from 'node:worker_threads'
import { type Batch, createBatch } from '../generate/batch.ts'
import { createPrefixCache, type PrefixCache } from '../generate/prefixes.ts'
import { createGenerator, type Generator } from '../generate/state.ts'
import { openDevice } from '../node/device.ts'
import { openWriting } from '../node/models.ts'
import type { EngineSettings, Fault, FromEngine, Job, JobEvent, ToEngine } from './protocol.ts'
import { JobFault, runJob, type TextModel } from './texts.ts'

const port = parentPort!
const settings = workerData as EngineSettings
const post = (message: FromEngine) => port.postMessage(message)

try {
  await serve(settings)
} catch (error) {
  post({ kind: 'refused', message: (error as Error).message })
}

async function serve({ model: folder, device: name, threads, mostTexts, prefixBytes }: EngineSettings): Promise<void> {
  const writing = await openWriting(folder)
  const device = await openDevice(name, threads === undefined ? {} : { threads })
  const generator = createGenerator(device, writing.model)
  const prefixes = createPrefixCache(prefixBytes)
  const batch = createBatch(generator, { most: mostTexts, prefixes })
  const { limit } = generator
  const { vocab } = generator.config
  listen({ ...writing, batch, limit, vocab }, generator, prefixes)
  post({ kind: 'ready', info: { limit: Number.isFinite(limit) ? limit : null, vocab } })
}

function listen(model: TextModel, generator: Generator, prefixes: PrefixCache): void {
  const running = new Map<number, AbortController>()
  const tell = createOutbox(model.batch, prefixes)
  const start = async (id: number, job: Job) => {
    const controller = new AbortController()
    running.set(id, controller)
    try {
      for await (const event of runJob(model, job, settings, controller.signal)) tell(id, event)
    } catch (error) {
      tell(id, { kind: 'failed', fault: faultOf(error) })
    } finally {
      running.delete(id)
    }
  }
  port.on('message', (message: ToEngine) => {
    if (message.kind === 'start') void start(message.id, message.job)
    else if (message.kind === 'cancel') running.get(message.id)?.abort(new Error('the client has left'))
    else void close(model.batch, generator)
  })
}

/** Ends the thread once no graph runs, and what ended with it has been told. */
async function close(batch: Batch, generator: Generator): Promise<void> {
  await batch.close()
  await generator.dispose()
  await new Promise((resolve) => setImmediate(resolve))
  port.close()
}

/** Collects events until the event loop turns, so that a step of many texts is one message. */
function createOutbox(batch: Batch, prefixes: PrefixCache): (id: number, event: JobEvent) => void {
  let events: [number, JobEvent][] = []
  const flush = () => {
    const counts = { ...batch.counts(), prefixes: prefixes.size(), prefixBytes: prefixes.bytes() }
    post({ kind: 'events', events, counts })
    events = []
  }
  return (id, event) => {
    if (events.length === 0) setImmediate(flush)
    events.push([id, event])
  }
}

function faultOf(error: unknown): Fault {
  if (error instanceof JobFault) return error.fault
  const message = error instanceof Error ? error.message : String(error)
  return { by: 'engine', message }
}
