/** The library with what only Node has: the engine's devices and folders on disk. */

export * from '../index.ts'
export { type DeviceOptions, deviceNames, openDevice, openModelFile } from './device.ts'
export { folderSink, folderSource, folderStore } from './files.ts'
export { freeMemory } from './freeMemory.ts'
export { type HubOptions, hubFolder } from './hub.ts'
export { type HubId, parseHubId } from './hubId.ts'
export { readGrey, readPicture } from './images.ts'
export { openSource } from './source.ts'
