/** What is wrong with a request, in the shape that clients of the OpenAI API expect. */

import type { Fault } from './protocol.ts'

/** A refusal with its HTTP status. */
export class RequestFault extends Error {
  override readonly name = 'RequestFault'
  readonly status: number
  /** The parameter at fault. */
  readonly param: string | null
  /** A short name that programs can tell apart, e.g. `model_not_found`. */
  readonly code: string | null
  constructor(status: number, message: string, more: { readonly param?: string; readonly code?: string } = {}) {
    super(message)
    this.status = status
    this.param = more.param ?? null
    this.code = more.code ?? null
  }
}

/** The body of an error response. */
export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  429: 'rate_limit_error',
  499: 'client_closed_request',
  500: 'server_error',
  503: 'server_error',
  504: 'timeout_error',
}

export function errorBody({ status, message, param, code }: RequestFault): ErrorBody {
  return { error: { message, type: types[status] ?? 'invalid_request_error', param, code } }
}

/** A fault of a job as a refusal. */
export function requestFault({ by, message, param, code }: Fault): RequestFault {
  if (by === 'engine') return new RequestFault(500, `the model failed: ${message}`, { code: 'engine_error' })
  return new RequestFault(400, message, { ...(param && { param }), ...(code && { code }) })
}

/** Whatever was thrown as a refusal; what is no refusal tells the client nothing of the machine. */
export function faultOf(error: unknown): RequestFault {
  if (error instanceof RequestFault) return error
  return new RequestFault(500, 'the server failed at this request; its log says more', { code: 'internal_error' })
}
