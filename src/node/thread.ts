/** Threads of this package's own modules, also where it is run from its sources. */

import { Worker } from 'node:worker_threads'

/** Starts a module, given without its ending, as a thread. */
export function startThread(module: URL, workerData: unknown): Worker {
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL(`${module.href}.js`), { workerData })
  // Run from its sources, the process was started with tsx; a thread has to be told so itself.
  const [loader, file] = [import.meta.resolve('tsx/esm/api'), `${module.href}.ts`]
  const code = `const load = (url) => import(url); load('${loader}').then(({ register }) => { register(); return load('${file}') })`
  return new Worker(code, { eval: true, workerData })
}
