import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { openBrowser, openSite, skip, visit } from '../browser.ts'
import { assertAccessible, assertFits, picture, watchTasks } from '../checks.ts'

const minute = { timeout: 150_000 }

/** The number in a tile. */
async function tile(page: Page, name: string): Promise<number> {
  return Number(await page.locator('.tiles div', { hasText: name }).locator('dd').textContent())
}

/** Waits until a sentence stands on the page. */
const says = (page: Page, words: string | RegExp) => page.getByText(words).first().waitFor(minute)

describe('the view of attention', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  before(async () => {
    ;[browser, site] = await Promise.all([openBrowser(), openSite({ path: '/a/' })])
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  it('draws what is typed, by softmax and by the map, head by head', async (t) => {
    await visit(browser, `${site.address}#/attention`, {}, async ({ page, errors }) => {
      await says(page, 'KL, softmax to map')
      const longest = await watchTasks(page)
      await page.getByLabel('Text').fill('')
      await says(page, /^Type a few words/)
      await page.getByLabel('Text').pressSequentially('The man that the woman saw had gone away', { delay: 15 })
      const maps = page.getByRole('img', { name: /over 9 tokens/ })
      await maps.nth(1).waitFor(minute)
      t.diagnostic(`the longest task while typing took ${Math.round(await longest())} ms`)
      assert.equal(await maps.count(), 2)
      assert.deepEqual(
        await page.locator('.tokens label').allTextContents(),
        'The man that the woman saw had gone away'.split(' '),
      )
      await page.getByRole('radio', { name: 'away' }).focus()
      await page.keyboard.press('ArrowUp')
      await page.getByRole('heading', { name: 'What “gone” attends to' }).waitFor()
      assert.equal(await page.getByRole('region', { name: 'Weights of the query' }).locator('tbody tr').count(), 8)
      await page.getByRole('button', { name: /^layer 2, head 1: KL/ }).click()
      await page.getByRole('img', { name: /softmax in layer 2, head 1/ }).waitFor(minute)
      assert.equal(await page.getByRole('combobox', { name: 'Layer' }).inputValue(), '2')
      await assertAccessible(page)
      assert.deepEqual(errors, [])
    })
  })

  it('shows how a map learned, and teaches others', async () => {
    await visit(browser, `${site.address}#/attention`, { height: 1500 }, async ({ page, errors }) => {
      const slider = page.getByRole('slider', { name: 'Distillation' })
      await says(page, /after \d+ steps/)
      await picture(page, 'attention')
      const learned = await tile(page, 'KL')
      await slider.focus()
      await page.keyboard.press('Home')
      await says(page, 'hedgehog-exp, untrained')
      assert.ok((await tile(page, 'KL')) > learned)
      await page.getByLabel('Feature map').selectOption('elu')
      await says(page, 'nothing to learn')
      assert.ok(await slider.isDisabled())
      await page.getByLabel('Feature map').selectOption('hedgehog-softmax')
      await page.getByRole('button', { name: /^Distil \d+ steps here/ }).click()
      await says(page, /^hedgehog-softmax, after \d+ steps/)
      await page.getByRole('button', { name: 'Stop' }).click()
      await page.getByRole('button', { name: 'Stop' }).waitFor({ state: 'hidden', ...minute })
      assert.ok(await slider.isEnabled())
      await slider.focus()
      await page.keyboard.press('Home')
      await says(page, 'hedgehog-softmax, untrained')
      assert.deepEqual(errors, [])
    })
  })

  it('reads well on a phone in the dark, and refuses what is no model', async () => {
    await visit(browser, `${site.address}#/attention`, { width: 390, height: 1500, dark: true }, async ({ page }) => {
      await says(page, /after \d+ steps/)
      await page.locator('.heads button').first().waitFor()
      await picture(page, 'attention-phone-dark')
      await assertFits(page)
      await assertAccessible(page)
      await page.getByText('Another model').click()
      const files = [{ name: 'holiday.txt', mimeType: 'text/plain', buffer: Buffer.from('sun') }]
      await page.locator('input[type=file][multiple]').setInputFiles(files)
      await page
        .getByRole('alert')
        .getByText(/holiday\.txt: is no model folder/)
        .waitFor(minute)
      await page.getByRole('combobox', { name: 'Model' }).selectOption('tiny')
      await says(page, 'KL, softmax to map')
    })
  })

  it('sees on WebGPU what it sees on WebAssembly', async () => {
    const found: number[][] = []
    for (const device of ['wasm', 'webgpu']) {
      await visit(browser, site.address, {}, async ({ page, errors }) => {
        await page.getByLabel('Device').selectOption(device)
        await page.getByRole('link', { name: 'Attention' }).first().click()
        await says(page, 'KL, softmax to map')
        await page.locator('.heads button').first().waitFor(minute)
        found.push((await page.locator('.heads button').allTextContents()).map(Number))
        assert.deepEqual(errors, [])
      })
    }
    assert.equal(found[0]!.length, 16)
    for (const [i, kl] of found[0]!.entries()) assert.ok(Math.abs(kl - found[1]![i]!) <= 0.011)
  })
})
