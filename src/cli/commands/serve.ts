/** The body of `hedgehog serve`: an HTTP server that other programs take for the OpenAI API. */

import { basename, resolve } from 'node:path'
import type { Job } from '../../base/progress.ts'
import { openSource } from '../../node/source.ts'
import { startEngine } from '../../serve/engine.ts'
import { startServer } from '../../serve/server.ts'
import type { Run } from '../command.ts'
import type { serveOptions } from '../optionTables.ts'

const megabyte = 2 ** 20

export const run: Run<typeof serveOptions, 'model'> = async (context, { model: path }, options) => {
  const { host, port, concurrent, queue, maxTokens, maxPrompt, maxBody, cache, timeout, grace, threads } = options
  const model = options.name ?? basename(resolve(path)).replace(/\.gguf$/, '')
  // A model of the Hub is fetched here, where it can be shown; the model's thread finds it then.
  await context.run(openSource(path))
  const engine = await startEngine({
    model: path,
    device: options.device as 'cpu',
    mostTexts: concurrent,
    mostPrompt: maxPrompt,
    mostTokens: maxTokens,
    prefixBytes: cache * megabyte,
    ...(threads !== undefined && { threads }),
  })
  // A key on the command line could be read by every user of the machine.
  const apiKey = process.env.HEDGEHOG_API_KEY
  const log = (line: string) => void process.stderr.write(`${new Date().toISOString()} ${line}\n`)
  const server = await startServer(engine, {
    host,
    port,
    model,
    mostTokens: maxTokens,
    mostChoices: Math.min(128, concurrent + queue),
    bodyBytes: Math.round(maxBody * megabyte),
    mostInFlight: concurrent + queue,
    seconds: timeout,
    log,
    ...(apiKey && { apiKey }),
  }).catch(async (error: Error) => {
    await engine.close()
    throw new Error(`serve: cannot listen on ${host}:${port}: ${error.message}`, { cause: error })
  })
  const key = apiKey ? 'with the key of HEDGEHOG_API_KEY' : 'without a key'
  const line = `${model} at ${server.url}/v1, ${key}; Ctrl-C ends it`
  if (context.json) await context.run(told(line))
  else context.write(`${line}\n`)
  // An engine that has failed cannot be mended from here; whoever watches the process starts it anew.
  await new Promise<void>((done) => {
    if (context.signal.aborted) done()
    context.signal.addEventListener('abort', () => done(), { once: true })
    void engine.ended.then(() => done())
  })
  const failure = engine.failure()
  await server.close(failure ? 0 : grace)
  if (failure) throw failure
  return { value: { model, url: server.url }, text: '' }
}

async function* told(message: string): Job<void> {
  yield { phase: 'serve', step: 0, steps: 1, seconds: 0, message }
}
