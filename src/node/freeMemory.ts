/** The memory that a process may still take. */

import { freemem } from 'node:os'

/** Bytes that this process can still take, within the limits that it runs under (a container's among them). */
export function freeMemory(): number {
  // Node has availableMemory from 20.13 on.
  return process.availableMemory?.() ?? freemem()
}
