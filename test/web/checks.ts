/** What the tests of all views ask of a page. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { screenshots } from './browser.ts'

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

/** Fails when axe finds something serious or critical. */
export async function assertAccessible(page: Page): Promise<void> {
  await page.addScriptTag({ path: axe })
  const found = (await page.evaluate('axe.run().then(({ violations }) => violations)')) as Violation[]
  const grave = found.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  const words = grave.map(({ id, nodes }) => `${id}: ${nodes[0]!.html.slice(0, 200)}: ${nodes[0]!.failureSummary}`)
  assert.deepEqual(words, [])
}

/** Fails when the page is wider than its window. */
export async function assertFits(page: Page): Promise<void> {
  const [width, room] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as [number, number]
  assert.ok(width <= room, `the page is ${width} px wide in a window of ${room}`)
}

/** Notes the longest task of the main thread from now on. */
export async function watchTasks(page: Page): Promise<() => Promise<number>> {
  await page.evaluate(`
    window.longest = 0
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration)
    }).observe({ entryTypes: ['longtask'] })
  `)
  return async () => (await page.evaluate('window.longest')) as number
}

/** Keeps a picture under docs/screenshots where `HEDGEHOG_SCREENSHOTS` asks for it. */
export async function picture(page: Page, name: string): Promise<void> {
  if (!process.env.HEDGEHOG_SCREENSHOTS) return
  await page.screenshot({ path: join(screenshots, `${name}.png`) })
}
