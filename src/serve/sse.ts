/** Server-sent events over a response that the framework has let go of. */

import type { ServerResponse } from 'node:http'

/** A stream of events to one client. */
export interface EventStream {
  /** Sends one JSON value, and waits while the client is slower than the model. @throws Error when it has left. */
  send(value: object): Promise<void>
  /** Says that there is no more, and ends the response. */
  end(): void
}

/** Sends the header. @param headers those that the framework has set. */
export function eventStream(response: ServerResponse, headers: Readonly<Record<string, unknown>>): EventStream {
  response.writeHead(200, {
    ...(headers as Record<string, string>),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    connection: 'keep-alive',
    // Proxies would else collect the events.
    'x-accel-buffering': 'no',
  })
  const write = async (data: string) => {
    if (response.destroyed) throw new Error('the client has left')
    if (response.write(`data: ${data}\n\n`)) return
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const name of ['drain', 'close']) response.off(name, done)
        resolve()
      }
      for (const name of ['drain', 'close']) response.on(name, done)
    })
  }
  return {
    send: (value) => write(JSON.stringify(value)),
    end() {
      if (!response.destroyed) response.end('data: [DONE]\n\n')
    },
  }
}
