import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import { bundled, styleSheet } from '../../scripts/page/build.ts'

/**
 * Bytes, gzipped, that a visitor of all views fetches at most: of the page's own, and with the packages for tokenizers and
 * templates. Readers of other formats than safetensors are fetched when such a file is dropped, and do not count.
 */
const mostBytes = { external: 120_000, bundle: 160_000 }

const isReader = (path: string) => /^src\/io\/(gguf|torch|pickle|zip(?!Write)|inflate|names)/.test(path)
const isEngine = (path: string) => path.includes('node_modules/onnxruntime')

describe('the built page', () => {
  for (const packages of ['external', 'bundle'] as const) {
    const most = mostBytes[packages]
    const what = packages === 'external' ? 'has at most' : 'has, with all packages but the engine, at most'
    it(`${what} ${most} bytes of programs and styles, gzipped`, async () => {
      const { outputFiles, metafile } = await bundled(packages)
      const own = outputFiles.filter(({ path }) => {
        const [, output] = Object.entries(metafile.outputs).find(([name]) => path.endsWith(name))!
        const inputs = Object.keys(output.inputs)
        return !inputs.some(isEngine) && !(inputs.length > 0 && inputs.every(isReader))
      })
      const sizes = own.map(({ contents }) => gzipSync(contents).length)
      const total = sizes.reduce((sum, size) => sum + size, gzipSync(await styleSheet()).length)
      assert.ok(own.length >= 2 && total > 10_000, `found only ${own.length} programs of ${total} bytes`)
      assert.ok(total <= most, `got ${total} bytes`)
    })
  }

  it('keeps the engine in programs of its own, which are loaded when a device is opened', async () => {
    const { metafile } = await bundled()
    for (const [path, { inputs, imports, entryPoint }] of Object.entries(metafile.outputs)) {
      const names = Object.keys(inputs)
      if (names.some(isEngine)) assert.ok(names.every(isEngine), `${path} has more than the engine`)
      if (!entryPoint?.startsWith('src/page/')) continue
      const first = imports.filter(({ kind }) => kind === 'import-statement').map(({ path: chunk }) => chunk)
      for (const chunk of first) assert.ok(!Object.keys(metafile.outputs[chunk]!.inputs).some(isEngine), chunk)
    }
  })
})
