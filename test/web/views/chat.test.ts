import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { openBrowser, openSite, skip, visit } from '../browser.ts'
import { assertAccessible, assertFits, picture } from '../checks.ts'

const minute = { timeout: 150_000 }
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })
const tile = (page: Page, name: string) => page.locator('.tiles div', { hasText: name }).locator('dd')
/** What was written, without the space that may stand before it. */
const answers = async (page: Page) => (await page.locator('.written').allTextContents()).map((text) => text.trim())

/** Waits until nothing is being written. */
async function written(page: Page): Promise<void> {
  await page.locator('button.first:enabled').waitFor(minute)
}

describe('the view of texts and conversations', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  before(async () => {
    ;[browser, site] = await Promise.all([openBrowser(false), openSite({ path: '/a/' })])
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  it('writes on, stops, begins an answer anew, and forks', async () => {
    await visit(browser, `${site.address}#/chat`, { height: 1250 }, async ({ page, errors }) => {
      await page.getByText(/attention: hedgehog-exp/).waitFor(minute)
      await page.getByLabel('Tokens', { exact: true }).fill('24')
      await page.getByLabel('Text to go on with').press('Enter')
      await written(page)
      const [first] = await answers(page)
      assert.ok(first!.length > 20)
      assert.match((await tile(page, 'Tokens a second').textContent())!, /^\d/)
      const state = await tile(page, 'State').textContent()
      const cache = await tile(page, 'A key/value cache').textContent()
      await button(page, 'Fork').click()
      await written(page)
      const both = await answers(page)
      assert.deepEqual([both.length, both[0]], [2, first])
      assert.notEqual(both[1], first)
      await picture(page, 'chat')
      await assertAccessible(page)
      await page.getByRole('button', { name: 'Go on from this one' }).click()
      await page.getByLabel('Text to go on with').fill(' Then')
      await button(page, 'Write').click()
      await written(page)
      assert.deepEqual((await answers(page))[0], both[1])
      assert.equal(await tile(page, 'State').textContent(), state)
      assert.notEqual(await tile(page, 'A key/value cache').textContent(), cache)
      const second = (await answers(page))[1]
      await button(page, 'Again').click()
      await written(page)
      assert.equal((await answers(page)).length, 2)
      assert.notEqual((await answers(page))[1], second)
      await button(page, 'New').click()
      await page.getByText('What is written appears here.').waitFor()
      await page.getByLabel('Tokens', { exact: true }).fill('120')
      await page.getByLabel('Text to go on with').fill('She')
      await button(page, 'Write').click()
      await page.locator('.written', { hasText: /\w{2}/ }).waitFor(minute)
      await button(page, 'Stop').click()
      await page.getByText('(stopped)').waitFor(minute)
      assert.deepEqual(errors, [])
    })
  })

  it('talks where a dropped model has a chat template, on a phone in the dark', async () => {
    const path = (name: string) => new URL(`../../../models/tiny/${name}`, import.meta.url)
    const names = ['config.json', 'model.safetensors', 'tokenizer.json']
    const template = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:'
    const files = await Promise.all(
      names.map(async (name) => ({ name, mimeType: 'application/octet-stream', buffer: await readFile(path(name)) })),
    )
    files.push({ name: 'chat_template.jinja', mimeType: 'text/plain', buffer: Buffer.from(template) })
    await visit(browser, `${site.address}#/chat`, { width: 390, height: 1250, dark: true }, async ({ page }) => {
      await page.locator('input[type=file]:not([webkitdirectory])').setInputFiles(files, minute)
      await page.getByText('it has a chat template: talk with it.').waitFor(minute)
      await page.getByLabel('Tokens', { exact: true }).fill('20')
      await page.getByLabel('Message').fill('What did the old man see?')
      await button(page, 'Send').click()
      await page.locator('.talk .said').waitFor()
      await written(page)
      assert.equal(await page.getByLabel('Message').inputValue(), '')
      await picture(page, 'chat-phone-dark')
      await assertFits(page)
      await assertAccessible(page)
    })
  })

  it('says what is wrong with a setting or a text, and keeps what was typed', async () => {
    await visit(browser, `${site.address}#/chat`, {}, async ({ page }) => {
      await page.getByText(/attention: hedgehog-exp/).waitFor(minute)
      await page.getByLabel('Top-p').fill('7')
      await button(page, 'Write').click()
      await page.getByRole('alert').getByText('Top-p: got 7, want a number from 0.01 to 1').waitFor()
      await page.getByLabel('Top-p').fill('0.9')
      await page.getByLabel('Text to go on with').fill('the '.repeat(300))
      await button(page, 'Write').click()
      await page
        .getByRole('alert')
        .getByText(/^The model has 256 positions/)
        .waitFor(minute)
      assert.equal((await page.getByLabel('Text to go on with').inputValue()).length, 1200)
      await page.getByText('What is written appears here.').waitFor()
    })
  })
})
