/** Files that a person saves. */

import { h } from '../dom.ts'

/** Saves a blob under a name, as the browser saves downloads. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob)
  const link = h('a', { href: url, download: name })
  link.click()
  // The browser reads the blob after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
