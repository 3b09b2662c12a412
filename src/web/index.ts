/** The library with what only browsers have: devices of onnxruntime-web, files that are dropped, fetched or stored. */

export * from '../index.ts'
export { type AssetFile, cachedFolder } from './cache.ts'
export { type DeviceOptions, deviceNames, openDevice } from './device.ts'
export { type ProviderName, usableThreads } from './engine.ts'
export { filesSource } from './files.ts'
export { httpSource } from './http.ts'
export { removeStored, storageSink, storageSource } from './storage.ts'
export { zipped } from './zip.ts'
