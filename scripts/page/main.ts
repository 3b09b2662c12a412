/**
 * Builds the page into dist/page and serves it on this machine: `npm run web`, with `-- --port 8080` on a port of choice.
 * `npm run build:web` builds it and ends; that folder works on any web server, under any path.
 */

import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../packages.ts'
import { buildPage } from './build.ts'
import { servePage } from './serve.ts'

const { values } = parseArgs({ options: { build: { type: 'boolean' }, port: { type: 'string' } } })
const port = values.port === undefined ? 8000 : Number(values.port)
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error(`--port: got ${values.port}, want a number from 0 to 65535`)
  process.exit(2)
}
const out = join(root, 'dist/page')
try {
  await buildPage(out)
  if (values.build) console.log(`${out} holds the page; any web server can serve it`)
  else console.log(`${(await servePage(out, { port })).address} shows the page; Ctrl-C ends it`)
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
