/** From a checked request to its response: jobs run side by side, and their events become one body or one stream. */

import type { FastifyReply } from 'fastify'
import { type AnswerChoice, type AnswerForm, type AnswerHead, answerForms, type Usage } from './answers.ts'
import type { Engine } from './engine.ts'
import { errorBody, faultOf, RequestFault, requestFault } from './faults.ts'
import type { JobEvent, TokenText } from './protocol.ts'
import type { TextRequest } from './requests.ts'
import { eventStream } from './sse.ts'

/** What answering needs besides the request. */
export interface Answering {
  readonly engine: Engine
  readonly head: AnswerHead
  /** Ends the request; its reason is a {@link RequestFault}. */
  readonly controller: AbortController
  /** Called when the first text has come. */
  readonly began: () => void
}

/** Answers in one body, or in a stream. @throws RequestFault for what fails before the response has begun. */
export async function answer(request: TextRequest, reply: FastifyReply, around: Answering): Promise<void> {
  const { controller, engine } = around
  const runs = request.jobs.map((job) => engine.run(job, controller.signal))
  try {
    const usages = await Promise.all(runs.map(promptTokens))
    const form = answerForms[request.kind]
    // Choices of one prompt read it once.
    const prompts = new Set(request.jobs.map(({ prompt }) => prompt))
    const perPrompt = request.jobs.length / prompts.size
    const prompt = usages.reduce((total, count) => total + count, 0) / perPrompt
    if (request.stream) await stream(request, form, reply, runs, prompt, around)
    else await reply.send(await whole(request, form, runs, prompt, around))
  } catch (error) {
    // The other texts of the request are of no use any more.
    const reason = controller.signal.aborted ? controller.signal.reason : error
    controller.abort(reason)
    throw reason
  } finally {
    for (const run of runs) void run.return()
  }
}

/** The first event of a job. @throws RequestFault when there is no way to begin it. */
async function promptTokens(run: AsyncGenerator<JobEvent, void, void>): Promise<number> {
  const { value } = await run.next()
  if (value?.kind === 'begun') return value.promptTokens
  if (value?.kind === 'failed') throw requestFault(value.fault)
  throw new RequestFault(500, 'the model gave no answer', { code: 'engine_error' })
}

type Runs = readonly AsyncGenerator<JobEvent, void, void>[]

async function whole(
  { jobs }: TextRequest,
  form: AnswerForm,
  runs: Runs,
  prompt: number,
  { head, began }: Answering,
): Promise<object> {
  const choices = await Promise.all(
    runs.map(async (run, index) => {
      let text = ''
      const tokens: TokenText[] = []
      for await (const event of run) {
        if (event.kind === 'failed') throw requestFault(event.fault)
        if (event.kind === 'piece') {
          began()
          text += event.text
          tokens.push(...event.tokens)
        }
        if (event.kind === 'ended') {
          const { ending } = event
          const scored = jobs[index]!.alternatives !== undefined
          return { choice: { index, text, ...(scored && { tokens }), ending }, usage: event }
        }
      }
      throw new RequestFault(500, 'the model gave no whole answer', { code: 'engine_error' })
    }),
  )
  const usage = totals(
    prompt,
    choices.map((one) => one.usage),
  )
  return form.whole(
    head,
    choices.map(({ choice }) => choice),
    usage,
  )
}

async function stream(
  { jobs, includeUsage }: TextRequest,
  form: AnswerForm,
  reply: FastifyReply,
  runs: Runs,
  prompt: number,
  { head, began, controller }: Answering,
): Promise<void> {
  reply.hijack()
  const events = eventStream(reply.raw, reply.getHeaders())
  const ended: { readonly tokens: number; readonly known: number }[] = []
  const follow = async (run: Runs[number], index: number) => {
    if (form.first) await events.send(form.first(head, index))
    const scored = jobs[index]!.alternatives !== undefined
    const send = (choice: Omit<AnswerChoice, 'index' | 'tokens'>, tokens: readonly TokenText[]) =>
      events.send(form.piece(head, { index, ...choice, ...(scored && { tokens }) }))
    for await (const event of run) {
      if (event.kind === 'failed') throw requestFault(event.fault)
      if (event.kind === 'piece') {
        began()
        await send({ text: event.text, ending: null }, event.tokens)
      }
      if (event.kind === 'ended') {
        ended.push(event)
        await send({ text: '', ending: event.ending }, [])
      }
    }
  }
  try {
    await Promise.all(runs.map(follow))
    if (includeUsage) await events.send(form.usage(head, totals(prompt, ended)))
    events.end()
  } catch (error) {
    // The header is out, so that the status cannot say it any more.
    controller.abort(error)
    if (!reply.raw.destroyed) reply.raw.end(`data: ${JSON.stringify(errorBody(faultOf(error)))}\n\n`)
    throw error
  }
}

function totals(prompt: number, ended: readonly { readonly tokens: number; readonly known: number }[]): Usage {
  const sum = (of: (one: (typeof ended)[number]) => number) => ended.reduce((total, one) => total + of(one), 0)
  return {
    prompt,
    known: Math.min(
      prompt,
      sum(({ known }) => known),
    ),
    written: sum(({ tokens }) => tokens),
  }
}
