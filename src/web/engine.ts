/** Loads the build of onnxruntime-web that a provider needs, once, and sets it up. */

import type * as Ort from 'onnxruntime-web'

/** An execution provider of the browser. */
export type ProviderName = 'wasm' | 'webgpu'

/** onnxruntime-web as a module. */
export type Engine = typeof Ort

/** How the engine is loaded; only the first call of a page or worker decides. */
export interface EngineOptions {
  /** The folder, ending in a slash, with the engine's `ort-wasm-….wasm` and `.mjs`. Default: where its package is. */
  readonly assets?: string
  /** Threads of the WebAssembly provider; more than 1 need cross-origin isolation. Default: {@link usableThreads}. */
  readonly threads?: number
}

/** WebGPU waits for the GPU inside of WebAssembly: JSPI where the browser has it, else a larger and slower build. */
const builds: Readonly<Record<'wasm' | 'jspi' | 'asyncify', () => Promise<Engine>>> = {
  wasm: () => import('onnxruntime-web/wasm'),
  jspi: () => import('onnxruntime-web/jspi'),
  asyncify: () => import('onnxruntime-web/webgpu'),
}

const mostThreads = 8

/** The engine of a provider. @throws Error when its files cannot be loaded. */
export async function loadEngine(name: ProviderName, { assets, threads }: EngineOptions = {}): Promise<Engine> {
  const engine = await builds[name === 'wasm' ? 'wasm' : hasJspi() ? 'jspi' : 'asyncify']()
  const { env } = engine
  env.logLevel = 'error'
  env.wasm.numThreads = threads ?? usableThreads()
  if (assets !== undefined) env.wasm.wasmPaths = assets
  return engine
}

/** Threads that WebAssembly may have here: 1 without cross-origin isolation, else a core is left to the page, at most 8. */
export function usableThreads(): number {
  if (!globalThis.crossOriginIsolated) return 1
  return Math.max(1, Math.min(mostThreads, (globalThis.navigator?.hardwareConcurrency ?? 1) - 1))
}

function hasJspi(): boolean {
  return 'Suspending' in WebAssembly
}
