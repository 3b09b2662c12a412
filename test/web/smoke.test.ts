import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Browser } from 'playwright-core'
import { openBrowser, openSite, skip, visit } from './browser.ts'

describe('the page in a browser', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  before(async () => {
    ;[browser, site] = await Promise.all([openBrowser(), openSite({ path: '/deep/er/' })])
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  it('opens under any path and computes on WebAssembly and WebGPU', async () => {
    await visit(browser, site.address, {}, async ({ page, errors }) => {
      await page.getByRole('button', { name: 'Check this browser' }).click()
      const results = page.locator('dl[aria-live] dd')
      await results.nth(1).waitFor({ timeout: 60_000 })
      const [wasm, webgpu] = await results.allTextContents()
      assert.match(wasm!, /works: .* error \d\.\de-[6-9]/)
      assert.match(webgpu!, /works: .* error \d\.\de-[6-9]/)
      assert.deepEqual(errors, [])
    })
  })
})
