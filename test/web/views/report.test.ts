import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Browser } from 'playwright-core'
import { demoReport } from '../../report/demo.ts'
import { demoInspection } from '../../report/inspectDemo.ts'
import { openBrowser, openSite, skip, visit } from '../browser.ts'
import { assertAccessible, assertFits, picture } from '../checks.ts'

const file = (name: string, content: unknown) => ({
  name,
  mimeType: 'application/json',
  buffer: Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)),
})

describe('the view of reports', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  before(async () => {
    ;[browser, site] = await Promise.all([openBrowser(false), openSite({ path: '/a/' })])
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  it('shows what convert and inspect write, in place of what was shown before', async () => {
    await visit(browser, `${site.address}#/report`, {}, async ({ page, errors }) => {
      const input = page.locator('input[type=file]')
      await input.setInputFiles(file('report.json', demoReport()))
      await page.getByRole('heading', { name: 'Weight against q·k' }).waitFor()
      assert.ok(await page.getByRole('heading', { name: /converted to linear attention/ }).isVisible())
      await page.waitForFunction("document.querySelectorAll('.report svg').length > 5")
      await picture(page, 'report')
      await assertAccessible(page)
      await input.setInputFiles(file('inspect.json', demoInspection()))
      await page.getByRole('heading', { name: 'Every map at a glance' }).waitFor()
      assert.equal(await page.getByRole('heading', { name: /converted to linear attention/ }).count(), 0)
      assert.equal(await page.locator('h1:visible').count(), 1)
      assert.deepEqual(errors, [])
    })
  })

  it('takes a dropped file, says in one line what it is not, and keeps what was shown', async () => {
    await visit(browser, `${site.address}#/report`, { width: 390, height: 800, dark: true }, async ({ page }) => {
      await page.getByRole('button', { name: 'Associative recall' }).click()
      await page.getByRole('heading', { name: 'Results', exact: true }).waitFor()
      const drop = (name: string, content: string) =>
        page.evaluate(
          ([name, content]) => {
            const data = new DataTransfer()
            data.items.add(new File([content!], name!))
            document.querySelector('.drop')!.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }))
          },
          [name, content],
        )
      await drop('shopping.json', '{"milk": 2}')
      await page
        .getByRole('alert')
        .getByText(/^shopping\.json: is no report of hedgehog; want report\.json/)
        .waitFor()
      await drop('photo.jpg', 'ÿØÿà')
      await page
        .getByRole('alert')
        .getByText(/^photo\.jpg: is not JSON/)
        .waitFor()
      const damaged = JSON.stringify({ ...demoReport(), rows: [{ name: 3 }] })
      await drop('report.json', damaged)
      await page
        .getByRole('alert')
        .getByText(/^report\.json: rows\[0\]\.name: got 3, want a text; it is damaged/)
        .waitFor()
      assert.ok(await page.getByRole('heading', { name: 'Results', exact: true }).isVisible())
      await drop('report.json', JSON.stringify(demoReport()))
      await page.getByRole('heading', { name: 'Weight against q·k' }).waitFor()
      await picture(page, 'report-phone-dark')
      await assertFits(page)
      await assertAccessible(page)
    })
  })
})
