/** The worker's side of the view of texts and conversations. */

import type { Job } from '../../base/progress.ts'
import type { Host } from '../worker/host.ts'
import type { WorkerJob } from '../worker/job.ts'
import { openModel } from '../worker/models.ts'
import { openSession, type Session } from './session.ts'
import type { ChatNews, Speaking } from './types.ts'

export const meet: WorkerJob<'meet'> = async function* (input, host) {
  return (yield* told(sessionOf(input, host))).met
}

export const write: WorkerJob<'write'> = async function* (wish, host, signal) {
  const session = yield* told(sessionOf(wish, host))
  return yield* session.write(wish, signal)
}

/** The session of each worker, with what it was opened for; another choice takes its place. */
const sessions = new WeakMap<Host, { readonly key: string; readonly session: Session }>()

async function* sessionOf({ device, model, choice }: Speaking, host: Host): Job<Session> {
  const key = `${device} ${choice}`
  const old = sessions.get(host)
  if (old?.key === key) return old.session
  await old?.session.dispose()
  sessions.delete(host)
  const writing = yield* openModel(host, model)
  const session = openSession(await host.device(device), writing, host.clock)
  sessions.set(host, { key, session })
  return session
}

async function* told<T>(job: Job<T>): AsyncGenerator<ChatNews, T, void> {
  for (;;) {
    const next = await job.next()
    if (next.done) return next.value
    yield { kind: 'progress', progress: next.value }
  }
}
