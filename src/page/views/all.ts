/** Every view but the first, in one program: what they share is compressed together, and the next view is there at once. */

export * as attention from './attention.ts'
export * as chat from './chat.ts'
export * as convert from './convert.ts'
export * as recall from './recall.ts'
export * as report from './report.ts'
