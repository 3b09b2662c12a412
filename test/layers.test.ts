/** The rules that keep the source in layers; docs/architecture.md says what each layer is for. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, posix, relative, sep } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

const models = ['base', 'graph', 'nn', 'attention', 'models', 'io']
const running = [...models, 'runtime', 'execute']
const portable = [
  ...running,
  'metrics',
  'train',
  'evaluate',
  'convert',
  'generate',
  'deploy',
  'report',
  'tasks',
  'experiments',
]

/** What each folder of src may import besides itself; an empty name stands for the files of src itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  metrics: ['base'],
  graph: ['base'],
  runtime: ['base', 'graph'],
  io: ['base'],
  tasks: ['base', 'io'],
  nn: ['base', 'graph'],
  attention: ['base', 'graph', 'nn'],
  models: ['base', 'graph', 'nn', 'attention', 'io'],
  execute: ['base', 'graph', 'runtime', 'nn', 'attention', 'models'],
  train: running,
  evaluate: [...running, 'metrics'],
  report: ['base'],
  generate: running,
  deploy: running,
  convert: [...running, 'train', 'evaluate'],
  experiments: [...running, 'train', 'evaluate', 'convert', 'generate', 'metrics', 'tasks'],
  '': portable,
  node: [...portable, ''],
  web: [...portable, ''],
  page: [...portable, 'web'],
  serve: [...portable, '', 'node'],
  cli: [...portable, '', 'node', 'serve'],
}

/** Single files that a folder may import beyond its layers: what a conversion reports is data that the report draws. */
const alsoImports: Readonly<Record<string, readonly string[]>> = {
  convert: ['report/types.ts', 'report/inspect/types.ts'],
  experiments: ['report/experimentTypes.ts'],
}

/** Folders that may use Node itself, its engine, and what only a command line needs. */
const onNode = ['node', 'serve', 'cli']

/** The one folder that may use the browser's engine. */
const onWeb = 'web'

const mostLines = 420
/** Tables, which may be as long as what they list. */
const tables: Readonly<Record<string, number>> = { 'graph/primitives.ts': 600 }

/** A file of src: its path there, its text without comments, and what it imports. */
interface Source {
  readonly path: string
  readonly lines: number
  readonly code: string
  /** Paths in src of relative imports. */
  readonly imports: readonly string[]
  /** Those of them that are still there when types are erased. */
  readonly loads: readonly string[]
  /** Names of packages and of parts of Node. */
  readonly packages: readonly string[]
}

const importPattern =
  /^(?:import|export)\b[^'"`;]*?\bfrom\s+'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm

function importsOf(code: string, counts: (match: RegExpExecArray) => boolean = () => true): string[] {
  return [...code.matchAll(importPattern)].filter(counts).map((match) => (match[1] ?? match[2] ?? match[3])!)
}

function readSource(path: string): Source {
  const text = readFileSync(`${root}/src/${path}`, 'utf8')
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '')
  const specifiers = importsOf(code)
  const isRelative = (specifier: string) => specifier.startsWith('.')
  const inSource = (found: readonly string[]) =>
    found.filter(isRelative).map((specifier) => posix.join(dirname(path), specifier))
  return {
    path,
    lines: text.split('\n').length - 1,
    code,
    imports: inSource(specifiers),
    loads: inSource(importsOf(code, ({ 0: statement }) => !/^(?:import|export)\s+type\b/.test(statement))),
    packages: specifiers.filter((specifier) => !isRelative(specifier)),
  }
}

const sources: readonly Source[] = readdirSync(`${root}/src`, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => relative(`${root}/src`, `${entry.parentPath}/${entry.name}`).split(sep).join('/'))
  .sort()
  .map(readSource)

const layerOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '')
const nameOf = (layer: string): string => (layer === '' ? 'src itself' : layer)

/** Fails with one line per fault. */
function none(faults: readonly string[]): void {
  if (faults.length > 0) assert.fail(`\n${faults.join('\n')}`)
}

describe('the source', () => {
  it('is found', () => assert.ok(sources.some(({ path }) => path === 'graph/tensor.ts')))

  it('has no folder without a rule', () => {
    const unknown = new Set(sources.map(({ path }) => layerOf(path)).filter((layer) => !(layer in mayImport)))
    none([...unknown].map((layer) => `src/${layer} is no known layer: say in test/layers.test.ts what it may import`))
  })

  it('imports only from layers below', () => {
    none(
      sources.flatMap(({ path, imports }) => {
        const own = layerOf(path)
        const allowed = [own, ...(mayImport[own] ?? [])]
        return imports
          .filter((target) => !allowed.includes(layerOf(target)) && !alsoImports[own]?.includes(target))
          .map((target) => {
            const may = (mayImport[own] ?? []).map(nameOf).join(', ') || 'nothing'
            return `src/${path} imports src/${target}, but ${nameOf(own)} may import ${may}`
          })
      }),
    )
  })

  it('imports only files that there are', () => {
    const known = new Set(sources.map(({ path }) => path))
    none(
      sources.flatMap(({ path, imports }) =>
        imports
          .filter((target) => target.endsWith('.ts') && !known.has(target))
          .map((target) => `src/${path} imports src/${target}, which does not exist`),
      ),
    )
  })

  it('has no import cycles, types left aside', () => {
    none(cycles(new Map(sources.map(({ path, loads }) => [path, loads]))))
  })

  it('uses Node and its engine only in the doors to Node', () => {
    none(
      sources
        .filter(({ path }) => !onNode.includes(layerOf(path)))
        .flatMap(({ path, packages }) =>
          packages
            .filter((name) => name.startsWith('node:') || name === 'onnxruntime-node')
            .map((name) => `src/${path} imports ${name}, which only src/${onNode.join(', src/')} may`),
        ),
    )
  })

  it("uses the browser's engine only in the door to browsers", () => {
    none(
      sources
        .filter(({ path }) => layerOf(path) !== onWeb)
        .flatMap(({ path, packages }) =>
          packages
            .filter((name) => packageOf(name) === 'onnxruntime-web')
            .map((name) => `src/${path} imports ${name}, which only src/${onWeb} may`),
        ),
    )
  })

  it('uses only packages that are installed with it', () => {
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
    const installed = { ...dependencies, ...optionalDependencies }
    none(
      sources.flatMap(({ path, packages }) =>
        packages
          .filter((name) => !name.startsWith('node:') && !(packageOf(name) in installed))
          .map((name) => `src/${path} imports ${name}, which is not among the dependencies in package.json`),
      ),
    )
  })

  it(`has no file of more than ${mostLines} lines but for tables`, () => {
    none(
      sources
        .filter(({ path, lines }) => lines > (tables[path] ?? mostLines))
        .map(({ path, lines }) => `src/${path} has ${lines} lines, want at most ${tables[path] ?? mostLines}`),
    )
  })

  it('opens every file with a sentence about it', () => {
    none(
      sources
        .filter(
          ({ path }) => !/^(?:#!.*\n)?\/(?:\*\*|\/) ?\S|^\/\*\*\n/.test(readFileSync(`${root}/src/${path}`, 'utf8')),
        )
        .map(({ path }) => `src/${path} does not open with a comment on what lives there`),
    )
  })

  it('has no any, default exports, enums or namespaces', () => {
    const banned: Readonly<Record<string, RegExp>> = {
      any: /(?:[:<|&=]|\bas)\s*any\b(?!\s*[(:'])/,
      'default export': /^export\s+default\b/,
      enum: /^(?:export\s+)?(?:const\s+)?enum\s/,
      namespace: /^(?:export\s+)?(?:declare\s+)?namespace\s/,
    }
    none(
      sources.flatMap(({ path, code }) =>
        withoutStrings(code)
          .split('\n')
          .flatMap((line) =>
            Object.entries(banned)
              .filter(([, pattern]) => pattern.test(line))
              .map(([what]) => `src/${path} has ${what}: ${line.trim()}`),
          ),
      ),
    )
  })
})

describe('these rules', () => {
  it('see every way of importing', () => {
    const code = [
      "import { a } from './a.ts'",
      "import type {\n  B,\n  C,\n} from './b.ts'",
      "import './c.ts'",
      "export * from './d.ts'",
      "const e = await import('./e.ts')",
    ].join('\n')
    assert.deepEqual(importsOf(code), ['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts'])
  })

  it('have no layer that imports one above it', () => {
    none(cycles(new Map(Object.entries(mayImport))))
  })

  it('find a cycle, and name its files', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['b']],
    ])
    assert.deepEqual(cycles(graph), ['b imports c imports b'])
  })
})

/** One line per cycle met on a walk in depth. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>()
  const found: string[] = []
  const walk = (name: string, above: readonly string[]): void => {
    const start = above.indexOf(name)
    if (start >= 0) found.push([...above.slice(start), name].join(' imports '))
    if (start >= 0 || done.has(name)) return
    for (const next of graph.get(name) ?? []) walk(next, [...above, name])
    done.add(name)
  }
  for (const name of graph.keys()) walk(name, [])
  return found
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function withoutStrings(code: string): string {
  return code.replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
}
