import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { finish } from '../../../src/base/progress.ts'
import { settingsOf } from '../../../src/experiments/experiment.ts'
import { recallExperiments, smallRecall, trainedAt } from '../../../src/experiments/recall.ts'
import { openDevice } from '../../../src/node/device.ts'
import { openBrowser, openSite, skip, visit } from '../browser.ts'
import { assertAccessible, assertFits, picture } from '../checks.ts'

const patient = { timeout: 240_000 }
const steps = 24

describe('the view of recall', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  before(async () => {
    ;[browser, site] = await Promise.all([openBrowser(false), openSite({ path: '/a/' })])
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })
  const address = () => `${site.address}#/recall`

  it('trains two models side by side, as well as Node does', async () => {
    await visit(browser, address(), {}, async ({ page, errors }) => {
      await train(page, ['taylor', 'elu'])
      await page.getByText(/^Taylor (solved|did not solve) it in 24 steps\.$/).waitFor(patient)
      await page.getByText(/^ELU did not solve it in 24 steps\.$/).waitFor(patient)
      assert.equal(await page.locator('figure svg').count(), 2)
      const right = await page.locator('.large').allTextContents()
      const device = await openDevice('cpu', { threads: 1 })
      const settings = settingsOf(recallExperiments['associative-recall'], false, { steps })
      for (const [i, map] of ['taylor', 'elu'].entries()) {
        const setup = { device, settings, seed: 0, clock: () => 0 }
        const { accuracy } = await finish(trainedAt(map, settings.fastest!, setup, smallRecall.draw))
        // One of 256 answers may fall the other way by rounding.
        assert.ok(
          Math.abs(Number.parseFloat(right[i]!) - 100 * accuracy) < 1,
          `${map}: ${right[i]}, in Node ${accuracy}`,
        )
      }
      await assertAccessible(page)
      assert.deepEqual(errors, [])
    })
  })

  const unwanted = process.env.HEDGEHOG_SCREENSHOTS ? false : 'a picture for the documentation, of a longer training'
  it('shows that one map learns it and another does not', { skip: unwanted }, async () => {
    await visit(browser, address(), {}, async ({ page }) => {
      await train(page, ['taylor', 'elu'], 300)
      await page.getByText(/^Taylor solved it in \d+ steps\.$/).waitFor(patient)
      await page.getByText(/^ELU did not solve it in 300 steps\.$/).waitFor(patient)
      await page.locator('figure').first().scrollIntoViewIfNeeded()
      await picture(page, 'recall')
    })
  })

  it('stops, and says what is wrong with a number', async () => {
    await visit(browser, address(), { dark: true, width: 390, height: 800 }, async ({ page }) => {
      await page.getByLabel('Tokens in a sequence').fill('15')
      await page.getByRole('button', { name: 'Train both' }).click()
      await page.getByRole('alert').getByText('want an even number').waitFor()
      await assertAccessible(page)
      await page.getByLabel('Tokens in a sequence').fill('16')
      await page.getByLabel('Steps at most').fill('20000')
      await page.getByRole('button', { name: 'Train both' }).click()
      await page.locator('.progress').filter({ hasText: 'of 20000' }).first().waitFor(patient)
      await assertFits(page)
      await page.getByRole('button', { name: 'Stop' }).click()
      await page.getByText('Hedgehog was stopped.', { exact: true }).waitFor(patient)
      await picture(page, 'recall-phone-dark')
    })
  })
})

async function train(page: Page, [first, second]: readonly [string, string], most = steps): Promise<void> {
  await page.getByLabel('Device').selectOption('wasm')
  await page.getByLabel('First attention').selectOption(first)
  await page.getByLabel('Second attention').selectOption(second)
  await page.getByLabel('Steps at most').fill(String(most))
  await page.getByRole('button', { name: 'Train both' }).click()
}
