/** The HTTP server: routes, keys, limits, errors in one shape, and an end that waits for what is being written. */

import { createHash, randomInt, randomUUID, timingSafeEqual } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { answer } from './answering.ts'
import { answerForms } from './answers.ts'
import type { Engine } from './engine.ts'
import { errorBody, faultOf, RequestFault } from './faults.ts'
import { createMetrics } from './metrics.ts'
import { type RequestLimits, readChat, readCompletion, type TextRequest } from './requests.ts'

/** Options of {@link startServer}. */
export interface ServerOptions extends RequestLimits {
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
  /** What clients must send as `Authorization: Bearer …`; without it all are served. */
  readonly apiKey?: string
  /** Bytes of a request's body. */
  readonly bodyBytes: number
  /** Texts that are written or wait at once; further requests are sent away. */
  readonly mostInFlight: number
  /** Seconds that an answer may take. */
  readonly seconds: number
  /** Told of failures that are not the client's. */
  readonly log: (line: string) => void
}

/** A server that listens. */
export interface Server {
  readonly url: string
  readonly port: number
  /** Takes no more requests, waits for those that are answered, at most so many seconds, and lets the engine go. */
  close(graceSeconds: number): Promise<void>
}

/** A client may take this long to send a request. */
const receiveSeconds = 60

/** Starts to listen. The engine belongs to the server from then on. @throws Error when host and port cannot be had. */
export async function startServer(engine: Engine, options: ServerOptions): Promise<Server> {
  const { host, port, apiKey, bodyBytes, mostInFlight, seconds, log, model } = options
  const metrics = createMetrics()
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  const created = Math.floor(Date.now() / 1000)
  const running = new Set<AbortController>()
  let inFlight = 0
  let closing = false
  let idle = () => {}

  const app = fastify({
    bodyLimit: bodyBytes,
    requestTimeout: receiveSeconds * 1000,
    forceCloseConnections: true,
    clientErrorHandler: refuseConnection,
    genReqId: () => randomUUID(),
  })
  acceptJson(app)
  app.addHook('onRequest', async (request) => {
    if (apiKey !== undefined && request.routeOptions.url !== '/healthz') checkKey(request, apiKey)
  })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown'
    metrics.answered(route, reply.statusCode, reply.elapsedTime / 1000)
  })
  app.setErrorHandler((error, _request, reply) => refuse(reply, error, log))
  app.setNotFoundHandler((request, reply) => {
    const message = `${request.method} ${request.url.slice(0, 200)}: there is no such address here`
    return refuse(reply, new RequestFault(404, message, { code: 'not_found' }), log)
  })

  app.get('/healthz', async (_request, reply) => {
    const failure = engine.failure()
    if (failure || closing) return reply.code(503).send({ status: closing ? 'closing' : 'failed' })
    return reply.send({ status: 'ok' })
  })
  app.get('/metrics', async (_request, reply) => {
    const loopDelay = delay.percentile(99) / 1e9
    delay.reset()
    const now = { counts: engine.counts(), residentBytes: process.memoryUsage.rss(), loopDelay }
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(metrics.text(now))
  })
  const described = { id: model, object: 'model', created, owned_by: 'hedgehog' }
  app.get('/v1/models', async () => ({ object: 'list', data: [described] }))
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => {
    if (params['*'] === model) return described
    throw new RequestFault(404, `model: there is only "${model}" here`, { param: 'model', code: 'model_not_found' })
  })
  app.post('/v1/completions', (request, reply) => respond(request, reply, readCompletion))
  app.post('/v1/chat/completions', (request, reply) => respond(request, reply, readChat))

  const respond = async (request: FastifyRequest, reply: FastifyReply, read: typeof readCompletion): Promise<void> => {
    const wanted = read(request.body, options, randomInt(2 ** 32))
    admit(wanted)
    const controller = new AbortController()
    // Every text of the request listens.
    setMaxListeners(0, controller.signal)
    const left = () => {
      if (!reply.raw.writableFinished) controller.abort(new RequestFault(499, 'the client has left'))
    }
    reply.raw.once('close', left)
    const late = `the answer took more than ${seconds} seconds`
    const timer = setTimeout(() => controller.abort(new RequestFault(504, late, { code: 'timeout' })), seconds * 1000)
    running.add(controller)
    inFlight += wanted.jobs.length
    let begun = false
    const began = () => {
      if (!begun) metrics.began(reply.elapsedTime / 1000)
      begun = true
    }
    const { idPrefix } = answerForms[wanted.kind]
    const head = { id: `${idPrefix}${request.id}`, created: Math.floor(Date.now() / 1000), model }
    try {
      await answer(wanted, reply, { engine, head, controller, began })
    } catch (error) {
      if (reply.raw.headersSent) logFailure(error, log)
      else throw error
    } finally {
      clearTimeout(timer)
      reply.raw.off('close', left)
      running.delete(controller)
      inFlight -= wanted.jobs.length
      if (inFlight === 0) idle()
    }
  }

  const admit = ({ jobs }: TextRequest) => {
    if (closing) throw new RequestFault(503, 'the server is closing', { code: 'closing' })
    if (engine.failure()) throw new RequestFault(503, "the model's thread has ended", { code: 'engine_error' })
    if (inFlight + jobs.length <= mostInFlight) return
    const message = `${inFlight} texts are being written or wait already, want at most ${mostInFlight}; try again later`
    throw new RequestFault(429, message, { code: 'queue_full' })
  }

  /** Resolves when nothing is answered any more, or after this time. */
  const drained = (most: number) =>
    new Promise<void>((resolve) => {
      if (inFlight === 0) return resolve()
      const timer = setTimeout(resolve, most * 1000)
      idle = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  const url = await app.listen({ host, port })
  const address = app.server.address()
  return {
    url,
    port: typeof address === 'object' && address ? address.port : port,
    async close(graceSeconds) {
      closing = true
      await drained(graceSeconds)
      for (const controller of running) {
        controller.abort(new RequestFault(503, 'the server is closing', { code: 'closing' }))
      }
      // The refusals still have to go out.
      await drained(1)
      await app.close()
      delay.disable()
      await engine.close()
    },
  }
}

/** Bodies are JSON in UTF-8, whatever the framework would make of other bytes. */
function acceptJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, body: Buffer) => {
      let text: string
      try {
        text = new TextDecoder('utf-8', { fatal: true }).decode(body)
      } catch {
        throw new RequestFault(400, 'the body is not in UTF-8', { code: 'invalid_utf8' })
      }
      try {
        return JSON.parse(text)
      } catch (error) {
        throw new RequestFault(400, `the body is not JSON: ${(error as Error).message.slice(0, 200)}`, {
          code: 'invalid_json',
        })
      }
    },
  )
}

/** Compares hashes of equal length, so that the time tells nothing of the key. */
function checkKey(request: FastifyRequest, apiKey: string): void {
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest()
  // Headers are read as one character for each byte.
  const given = Buffer.from(/^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '', 'latin1')
  if (timingSafeEqual(hash(given), hash(Buffer.from(apiKey)))) return
  throw new RequestFault(401, 'the API key is missing or wrong; send it as Authorization: Bearer KEY', {
    code: 'invalid_api_key',
  })
}

function refuse(reply: FastifyReply, error: unknown, log: (line: string) => void): FastifyReply {
  const { statusCode, message } = Object(error) as { statusCode?: number; message?: string }
  // The framework's own refusals: a body too large, another content type, a broken address.
  const own = !(error instanceof RequestFault) && statusCode !== undefined && statusCode < 500
  const fault = own ? new RequestFault(statusCode, String(message)) : faultOf(error)
  if (!own) logFailure(error, log)
  if (fault.status === 429) reply.header('retry-after', '1')
  return reply.code(fault.status).send(errorBody(fault))
}

function logFailure(error: unknown, log: (line: string) => void): void {
  if (error instanceof RequestFault && error.status !== 500) return
  log(error instanceof RequestFault ? error.message : String((error as Error)?.stack ?? error))
}

/** What is no HTTP at all gets an answer in the same shape, and its connection is closed. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const body = JSON.stringify(errorBody(new RequestFault(status, `not a request that can be read: ${error.code}`)))
  socket.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
  )
}
