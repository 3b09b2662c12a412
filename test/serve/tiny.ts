/** A server over a real socket with a small converted model, for tests of what clients see. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { random } from '../../src/base/random.ts'
import { linearize } from '../../src/convert/linearize.ts'
import { loadTokenizer } from '../../src/io/tokenizer.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { type Engine, startEngine } from '../../src/serve/engine.ts'
import { type Server, type ServerOptions, startServer } from '../../src/serve/server.ts'

const source = folderSource('models/tiny')
export const tokenizer = await loadTokenizer(source)
/** Softmax of the bundled model exchanged for a map without parameters: it writes nonsense, but always the same. */
export const student = linearize(await loadModel(source), 'elu', random(0))

/** The same model in a folder, and what removes it. */
export async function studentFolder(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'hedgehog-serve-'))
  await saveModel(folderSink(path), student, { dtype: 'float16', tokenizer: tokenizer.json })
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

export async function studentEngine(mostTexts = 8, mostPrompt = 200): Promise<Engine> {
  const folder = await studentFolder()
  const limits = { mostTexts, mostPrompt, mostTokens: 64, prefixBytes: 2 ** 24 }
  return startEngine({ model: folder.path, device: 'cpu', threads: 1, ...limits }).finally(folder.remove)
}

/** A server over an engine that outlives it. */
export function studentServer(engine: Engine, options: Partial<ServerOptions> = {}): Promise<Server> {
  return startServer(
    { ...engine, close: async () => {} },
    {
      host: '127.0.0.1',
      port: 0,
      model: 'student',
      mostTokens: 64,
      mostChoices: 16,
      bodyBytes: 2 ** 16,
      mostInFlight: 32,
      seconds: 60,
      log: (line) => process.stderr.write(`${line}\n`),
      ...options,
    },
  )
}
