import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { finish, type Progress } from '../../src/base/progress.ts'
import { hubFolder } from '../../src/node/hub.ts'
import { parseHubId } from '../../src/node/hubId.ts'
import { openSource } from '../../src/node/source.ts'

const commit = 'c0ffee'.padEnd(40, '0')
const large = Buffer.alloc(3_500_000, 'weights ')
const small = (json: unknown) => Buffer.from(JSON.stringify(json))

/** What the server has and how it behaves; each test begins with the same. */
interface Repo {
  files: Record<string, Buffer>
  /** Bytes after which a large file's connection breaks, once for each number. */
  breaks: number[]
  /** Content that is not what the list tells. */
  swapped: Record<string, Buffer>
  /** Changes of the list. */
  listed: (entry: Record<string, unknown>) => Record<string, unknown>
  status: number
}

const fresh = (): Repo => ({
  files: {
    'config.json': small({ model_type: 'gpt2' }),
    'tokenizer.json': small({ model: {} }),
    'model.safetensors': large,
    'pytorch_model.bin': large,
    'README.md': Buffer.from('not needed'),
  },
  breaks: [],
  swapped: {},
  listed: (entry) => entry,
  status: 200,
})

let repo = fresh()
let requests: string[] = []
const server = createServer((request, response) => {
  requests.push(`${request.url?.replace(/\?.*/, '')} ${request.headers.range ?? ''}`.trim())
  answer(request, response)
})
let hubUrl = ''
let cacheDir = ''
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  hubUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(() => new Promise((resolve) => server.close(resolve)))
beforeEach(async (context) => {
  repo = fresh()
  requests = []
  cacheDir = await mkdtemp(join(tmpdir(), 'hedgehog-hub-'))
  if ('after' in context) context.after(() => rm(cacheDir, { recursive: true, force: true }))
})

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url!, hubUrl)
  const json = (value: unknown, headers = {}) => {
    response.writeHead(repo.status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
  }
  const path = decodeURIComponent(url.pathname.replace(`/owner/name/resolve/${commit}/`, ''))
  const content = repo.swapped[path] ?? repo.files[path]
  if (repo.status !== 200) json({ error: 'Repository not found' })
  else if (url.pathname.startsWith('/api/models/owner/name/revision/')) {
    json({ _id: '1', id: 'owner/name', sha: commit, private: false, gated: false, likes: 0, downloads: 0 })
  } else if (url.pathname === `/api/models/owner/name/tree/${commit}`) {
    // The list comes in two pages.
    const all = Object.entries(repo.files).map(([name, bytes]) => repo.listed(entryOf(name, bytes)))
    const isFirst = !url.searchParams.has('page')
    const next = { link: `<${hubUrl}${url.pathname}?recursive=true&page=1>; rel="next"` }
    json(isFirst ? all.slice(0, 2) : all.slice(2), isFirst ? next : {})
  } else if (content) sendRange(request, response, content)
  else response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end()
}

function entryOf(path: string, content: Buffer) {
  const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
  const lfs = { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 }
  return { type: 'file', path, size: content.length, oid, ...(content === large && { lfs }) }
}

function sendRange(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
  const [start, end] = [Number(from ?? 0), Math.min(to ? Number(to) + 1 : content.length, content.length)]
  response.writeHead(from === undefined ? 200 : 206, {
    etag: '"any"',
    'content-length': end - start,
    ...(from !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${content.length}` }),
  })
  const breakAt = end - start > 1000 ? repo.breaks.shift() : undefined
  if (breakAt === undefined) response.end(content.subarray(start, end))
  else response.write(content.subarray(start, start + breakAt), () => response.destroy())
}

const id = { repo: 'owner/name', revision: 'main' }
const options = () => ({ hubUrl, cacheDir, retries: 0, retryDelay: 1, offline: false })
const folder = () => join(cacheDir, 'models--owner--name')

test('what a model needs is downloaded, into the layout that other tools read, and no more', async () => {
  const seen: Progress[] = []
  const source = await finish(hubFolder(id, options()), (progress) => seen.push(progress))
  assert.deepEqual(await source.list(), ['config.json', 'model.safetensors', 'tokenizer.json'])
  assert.deepEqual(Buffer.from(await source.read('model.safetensors')), large)
  assert.equal(source.name, 'hub:owner/name')
  assert.equal(await readFile(join(folder(), 'refs/main'), 'utf8'), commit)
  const linked = join(folder(), 'snapshots', commit, 'model.safetensors')
  assert.ok((await lstat(linked)).isSymbolicLink())
  const sha256 = createHash('sha256').update(large).digest('hex')
  assert.ok((await readdir(join(folder(), 'blobs'))).includes(sha256))
  assert.deepEqual(seen.at(-1)!.step, seen.at(-1)!.steps)
  assert.deepEqual([seen[0]!.phase, seen[0]!.steps], ['download', 4])
})

test('a second time nothing but the commit is asked for, and offline not even that', async () => {
  await finish(hubFolder(id, options()))
  requests = []
  await finish(hubFolder(id, options()))
  assert.ok(
    requests.every((line) => line.startsWith('/api/')),
    requests.join('\n'),
  )
  requests = []
  const source = await finish(hubFolder(id, { ...options(), offline: true }))
  assert.deepEqual(Buffer.from(await source.read('model.safetensors')), large)
  await finish(hubFolder({ ...id, revision: commit }, options()))
  assert.deepEqual(requests, [])
})

test('without a network the cache serves, and without a cache one line says what is the matter', async () => {
  const unreachable = { ...options(), hubUrl: 'http://127.0.0.1:9' }
  await assert.rejects(finish(hubFolder(id, unreachable)), {
    message: /^hub:owner\/name: the Hub cannot be reached \([^\n]+\)$/,
  })
  await assert.rejects(
    finish(hubFolder(id, { ...options(), offline: true })),
    /is not in .*, and the Hub is not to be asked/,
  )
  await finish(hubFolder(id, options()))
  assert.equal((await finish(hubFolder(id, unreachable))).name, 'hub:owner/name')
})

test('a broken download goes on where it ended, by itself and in a next run', async () => {
  repo.breaks = [1_500_000, 800_000]
  await assert.rejects(finish(hubFolder(id, options())), {
    message: /^hub:owner\/name: .*; run again to go on$/,
  })
  const kept = (await readdir(join(folder(), 'blobs'))).filter((name) => name.endsWith('.incomplete'))
  assert.equal(kept.length, 1)
  requests = []
  await finish(hubFolder(id, { ...options(), retries: 1 }))
  const starts = requests.flatMap((line) => /model\.safetensors bytes=(\d+)-\d{2,}/.exec(line)?.[1] ?? []).map(Number)
  assert.equal(starts.length, 2)
  assert.ok(starts[0]! > 0 && starts[1]! > starts[0]!, `${starts}`)
  const source = await finish(hubFolder(id, { ...options(), offline: true }))
  assert.deepEqual(Buffer.from(await source.read('model.safetensors')), large)
  assert.deepEqual(
    (await readdir(join(folder(), 'blobs'))).filter((name) => name.endsWith('.incomplete')),
    [],
  )
})

test('content of another hash is not kept', async () => {
  repo.swapped['model.safetensors'] = Buffer.alloc(large.length, 'others  ')
  await assert.rejects(
    finish(hubFolder(id, options())),
    /model\.safetensors: got content of the hash .*; it is not kept/,
  )
  await rm(folder(), { recursive: true })
  repo.swapped = { 'config.json': Buffer.from('{"model_type":"gpt3"}') }
  await assert.rejects(
    finish(hubFolder(id, options())),
    /config\.json: .*it is not kept|config\.json: the connection ended/,
  )
  await assert.rejects(readFile(join(folder(), 'refs/main')))
})

test('the shards of an index are downloaded, and a shard that is missing is named', async () => {
  const index = small({ weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } })
  repo.files = {
    'config.json': repo.files['config.json']!,
    'model.safetensors.index.json': index,
    'model-1.safetensors': large,
  }
  await assert.rejects(finish(hubFolder(id, options())), /has no file model-2\.safetensors, which its index names/)
  repo.files['model-2.safetensors'] = large
  repo.files['model-3.safetensors'] = large
  const source = await finish(hubFolder(id, options()))
  assert.deepEqual(await source.list(), [
    'config.json',
    'model-1.safetensors',
    'model-2.safetensors',
    'model.safetensors.index.json',
  ])
})

test('one of several GGUF files is asked for by name', async () => {
  const llama = readFileSync('test/fixtures/gguf/llama.gguf')
  repo.files = { 'a.gguf': llama, 'b.gguf': llama }
  await assert.rejects(
    finish(openSource('hub:owner/name', options())),
    /has several GGUF files, a\.gguf, b\.gguf; name one/,
  )
  const source = await finish(openSource('owner/name/b.gguf', options()))
  assert.ok(!requests.some((line) => line.includes('a.gguf')))
  assert.deepEqual(await source.list(), ['b.gguf', 'config.json', 'tokenizer.json', 'tokenizer_config.json'])
  await assert.rejects(finish(openSource('owner/name/c.gguf', options())), /hub:owner\/name: has no file c\.gguf/)
})

test('a model that is not there is one line, which tells of tokens where they could help', async () => {
  repo.status = 404
  await assert.rejects(finish(openSource('owner/name', options())), {
    message: 'owner/name: no such folder; hub:owner/name: no such model or revision on the Hub',
  })
  repo.status = 401
  await assert.rejects(finish(openSource('hub:owner/name', options())), {
    message: /one that needs access: set HF_TOKEN/,
  })
  repo.status = 500
  await assert.rejects(finish(hubFolder(id, options())), { message: 'hub:owner/name: the Hub answers with status 500' })
})

test('a list whose paths or hashes lead elsewhere is refused, and nothing is written', async () => {
  const lies: Record<string, unknown>[] = [
    { path: '../../evil' },
    { path: '/etc/evil' },
    { path: 'a\\b' },
    { path: 'a//b' },
    { lfs: undefined, oid: '../../evil' },
    { size: -1 },
  ]
  for (const lie of lies) {
    repo.listed = (entry) => ({ ...entry, ...lie })
    await assert.rejects(finish(hubFolder(id, options())), /the Hub lists .* with a path, size or hash that cannot be/)
  }
  assert.deepEqual(await readdir(cacheDir), [])
})

test('a damaged note of the commit is as good as none', async () => {
  await finish(hubFolder(id, options()))
  await writeFile(join(folder(), 'refs/main'), '../../..')
  await assert.rejects(finish(hubFolder(id, { ...options(), offline: true })), /is not in/)
})

test('names on the Hub are told from paths', () => {
  assert.deepEqual(parseHubId('hub:a/b'), { repo: 'a/b', revision: 'main' })
  assert.deepEqual(parseHubId('a/b.c-d@v1.0'), { repo: 'a/b.c-d', revision: 'v1.0' })
  assert.deepEqual(parseHubId('a/b/q/m.gguf'), { repo: 'a/b', revision: 'main', file: 'q/m.gguf' })
  for (const text of ['a', 'a/b/c', '/a/b', './a', '../a', 'a/..', 'a/b/../m.gguf', 'hub:a', 'a b/c', 'a/b@x/y', '']) {
    assert.equal(parseHubId(text), undefined, text)
  }
})
