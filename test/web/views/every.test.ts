import { after, before, describe, it } from 'node:test'
import type { Browser } from 'playwright-core'
import { views } from '../../../src/page/views.ts'
import { openBrowser, openSite, skip, visit } from '../browser.ts'
import { assertAccessible, assertFits } from '../checks.ts'

describe('every view, as it opens', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  before(async () => {
    ;[browser, site] = await Promise.all([openBrowser(false), openSite()])
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  for (const { path, title } of views) {
    for (const dark of [false, true]) {
      for (const width of [1100, 390]) {
        it(`${title} is accessible and fits ${width} px, ${dark ? 'dark' : 'light'}`, async () => {
          await visit(browser, `${site.address}#/${path}`, { dark, width }, async ({ page }) => {
            await page.locator('main :is(button, textarea, select):visible').first().waitFor({ timeout: 60_000 })
            await assertAccessible(page)
            await assertFits(page)
          })
        })
      }
    }
  }
})
