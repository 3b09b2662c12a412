/** A small web server for the page: static files by range, with the headers that give WebAssembly threads. */

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize, sep } from 'node:path'

/** Options of {@link servePage}. */
export interface ServeOptions {
  /** Default 0: any free one. */
  readonly port?: number
  /** Default: this machine only. */
  readonly host?: string
  /** Where the page is, beginning and ending in a slash. Default `/`. */
  readonly path?: string
  /** Whether pages may have threads. Default true. */
  readonly isolated?: boolean
}

/** A server that is listening. */
export interface PageServer {
  readonly address: string
  close(): Promise<void>
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
}

/** What makes a page isolated from other origins, which shared memory needs. */
const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
}

/** Serves a folder. @throws Error when the port is taken. */
export async function servePage(folder: string, options: ServeOptions = {}): Promise<PageServer> {
  const { port = 0, host = '127.0.0.1', path = '/', isolated = true } = options
  const server = createServer((request, response) => {
    const headers = { 'Cache-Control': 'no-cache', ...(isolated && isolation) }
    answer(folder, path, request, response, headers).catch(() => response.headersSent || response.writeHead(500).end())
  })
  await listening(server, port, host)
  const { port: found } = server.address() as AddressInfo
  return {
    address: `http://${host}:${found}${path}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE'
      reject(taken ? new Error(`port ${port} is taken; choose another with --port`) : error)
    })
    server.listen(port, host, resolve)
  })
}

async function answer(
  folder: string,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405, headers).end()
  const file = fileOf(folder, path, request.url ?? '/')
  const found = file === undefined ? undefined : await stat(file).catch(() => undefined)
  if (!file || !found?.isFile()) return void response.writeHead(404, headers).end('There is no such file.\n')
  const tag = `"${found.size.toString(36)}-${found.mtimeMs.toString(36)}"`
  const type = types[extname(file)] ?? 'application/octet-stream'
  const about = { ...headers, ETag: tag, 'Accept-Ranges': 'bytes', 'Content-Type': type }
  if (request.headers['if-none-match'] === tag) return void response.writeHead(304, about).end()
  const range = rangeOf(request.headers.range, found.size)
  if (range === 'none') {
    return void response.writeHead(416, { ...about, 'Content-Range': `bytes */${found.size}` }).end()
  }
  const [start, end] = range ?? [0, found.size]
  response.writeHead(range ? 206 : 200, {
    ...about,
    'Content-Length': end - start,
    ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${found.size}` }),
  })
  if (request.method === 'HEAD' || start === end) return void response.end()
  createReadStream(file, { start, end: end - 1 })
    .on('error', () => response.destroy())
    .pipe(response)
}

/** The file of an address; undefined outside of the folder. */
function fileOf(folder: string, path: string, url: string): string | undefined {
  let name: string
  try {
    name = decodeURIComponent(new URL(url, 'http://localhost').pathname)
  } catch {
    return undefined
  }
  if (!name.startsWith(path) || name.includes('\0')) return undefined
  const inner = normalize(name.slice(path.length) || 'index.html')
  return inner.startsWith('..') || inner.startsWith(sep) ? undefined : join(folder, inner)
}

/** One range of bytes (RFC 9110, section 14.1.2) as [start, end); undefined for none or a form that is not served. */
function rangeOf(header: string | undefined, size: number): readonly [number, number] | 'none' | undefined {
  const { from, to } = /^bytes=(?<from>\d*)-(?<to>\d*)$/.exec(header ?? '')?.groups ?? {}
  if (!from && !to) return undefined
  const start = from ? Number(from) : Math.max(0, size - Number(to))
  const end = from && to ? Math.min(size, Number(to) + 1) : size
  return start < end ? [start, end] : 'none'
}
