import assert from 'node:assert/strict'
import { dirname } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { finish } from '../../../src/base/progress.ts'
import type { Conversion } from '../../../src/convert/convert.ts'
import { zipFolder } from '../../../src/io/zipFolder.ts'
import { readJson } from '../../../src/models/folder.ts'
import { loadLanguage } from '../../../src/models/writing.ts'
import { folderSource } from '../../../src/node/files.ts'
import { openSource } from '../../../src/node/source.ts'
import type { ConversionChoices } from '../../../src/page/conversion.ts'
import type { Report } from '../../../src/report/types.ts'
import { openBrowser, openSite, skip, visit } from '../browser.ts'
import { assertAccessible, assertFits, picture } from '../checks.ts'
import { convertedInNode, type SmallModel, smallModel } from '../model.ts'

const choices: ConversionChoices = {
  map: 'hedgehog',
  length: 16,
  batch: 4,
  distillSteps: 24,
  finetuneSteps: 6,
  seed: 1,
}
const patient = { timeout: 180_000 }

describe('the view that converts', { skip }, () => {
  let browser: Browser
  let site: Awaited<ReturnType<typeof openSite>>
  let small: SmallModel
  let want: Conversion
  before(async () => {
    ;[browser, site, small] = await Promise.all([openBrowser(), openSite({ path: '/some/where/' }), smallModel()])
    want = await convertedInNode(small, choices)
  })
  after(async () => {
    await browser?.close()
    await site?.close()
    await small?.remove()
  })
  const address = () => `${site.address}#/convert`

  for (const device of ['wasm', 'webgpu'] as const) {
    it(`converts a folder and a text with the losses that Node has, on ${device}`, async () => {
      // A GPU that is computed on the CPU is slow.
      const few = { wasm: choices, webgpu: { ...choices, distillSteps: 2, finetuneSteps: 1 } }[device]
      const files = device === 'wasm' ? small : { ...small, text: small.brief }
      await visit(browser, address(), {}, async ({ page, errors }) => {
        await choose(page, device, files, few)
        await convertButton(page).click()
        const found = await downloaded(page)
        assertAlike(found.report, few === choices ? want : await convertedInNode(files, few))
        assert.equal(found.report.rows.at(-1)!.name, 'hedgehog')
        const { model } = await loadLanguage(found.source)
        assert.equal(model.config.attention[0]!.kind, 'linear')
        await page.getByRole('heading', { name: 'Weight against q·k' }).waitFor(patient)
        assert.deepEqual(errors, [])
      })
    })
  }

  it('goes on after its tab was closed, to the same result', async () => {
    await visit(browser, address(), {}, async ({ page }) => {
      // Long enough that the bar, which skips steps, is seen in their midst.
      const many = { ...choices, distillSteps: 150 }
      await choose(page, 'wasm', small, many)
      await convertButton(page).click()
      await reached(page, /distill\D*[2-9]\d of 150/)
      const again = await page.context().newPage()
      await page.close()
      await again.goto(address())
      await again.getByText('A conversion of small to hedgehog was interrupted').waitFor(patient)
      await again.getByRole('button', { name: 'Go on' }).click()
      assertAlike((await downloaded(again)).report, await convertedInNode(small, many))
      assert.equal(await again.getByText('was interrupted').count(), 0)
    })
  })

  it('stops when it is asked to, keeps its work, and forgets it when it is asked to', async () => {
    await visit(browser, address(), {}, async ({ page }) => {
      await choose(page, 'wasm', small)
      await page.getByLabel('Steps of distillation').fill('2000')
      await convertButton(page).click()
      await reached(page, /distill/)
      await page.getByRole('button', { name: 'Stop and keep' }).click()
      await page.getByText('was interrupted').waitFor(patient)
      await page.getByRole('button', { name: 'Forget it' }).click()
      await page.getByText('was interrupted').waitFor({ state: 'detached' })
      await page.reload()
      await convertButton(page).waitFor()
      assert.equal(await page.getByText('was interrupted').count(), 0)
    })
  })

  it('says what a folder that is no model lacks, and which number is out of range', async () => {
    await visit(browser, address(), {}, async ({ page }) => {
      await chooseModel(page, small.other)
      await convertButton(page).click()
      await page
        .getByRole('alert')
        .getByText(/holiday: is no model folder, it has no config\.json but picture\.txt/)
        .waitFor(patient)
      await chooseModel(page, small.model)
      await page.getByLabel('Tokens in a sequence').fill('2')
      await convertButton(page).click()
      await page.getByRole('alert').getByText('Tokens in a sequence: got 2, want a whole number from 8').waitFor()
      await page.getByLabel('Tokens in a sequence').fill('100')
      await convertButton(page).click()
      await page.getByRole('alert').getByText("Length: got 100 tokens, want at most the model's 24").waitFor(patient)
    })
  })

  it('says that the GPU was lost, and goes on from what was kept', async () => {
    await visit(browser, address(), {}, async ({ page }) => {
      // A GPU that is computed on the CPU is slow.
      const few = { ...choices, distillSteps: 6, finetuneSteps: 1 }
      const files = { ...small, text: small.brief }
      await choose(page, 'webgpu', files, few)
      const [worker] = page.workers()
      await worker!.evaluate(`
        const ask = GPUAdapter.prototype.requestDevice
        GPUAdapter.prototype.requestDevice = async function (...given) { return self.lent = await ask.apply(this, given) }
      `)
      await convertButton(page).click()
      await reached(page, /distill\D*[2-5] of 6/)
      await worker!.evaluate('lent.destroy()')
      await page
        .getByRole('alert')
        .getByText(/the browser lost the GPU .*choose WebAssembly/)
        .waitFor(patient)
      await page.getByLabel('Device').selectOption('wasm')
      await page.getByRole('button', { name: 'Go on' }).click()
      assertAlike((await downloaded(page)).report, await convertedInNode(files, few))
    })
  })

  it('says what to do where there is no WebGPU, and works with one thread where the page is not isolated', async () => {
    const plain = await openBrowser(false)
    const bare = await openSite({ isolated: false })
    try {
      await visit(plain, `${bare.address}#/convert`, {}, async ({ page }) => {
        await choose(page, 'webgpu', small)
        await convertButton(page).click()
        await page
          .getByRole('alert')
          .getByText(/webgpu is not to be had: .*; choose WebAssembly/)
          .waitFor(patient)
        await page.getByRole('link', { name: 'Start', exact: true }).click()
        await page.getByText(/WebAssembly has one thread, as the server does not isolate this page/).waitFor()
        await page.getByLabel('Device').selectOption('wasm')
        await page.getByRole('link', { name: 'Convert', exact: true }).first().click()
        await page.getByLabel('Steps of distillation').fill('3')
        await convertButton(page).click()
        assert.ok((await downloaded(page)).report.rows.length > 0)
      })
    } finally {
      await plain.close()
      await bare.close()
    }
  })

  for (const dark of [false, true]) {
    for (const [size, width] of [
      ['wide', 1100],
      ['phone', 390],
    ] as const) {
      it(`is accessible and fits, ${dark ? 'dark' : 'light'}, ${size}`, async () => {
        await visit(browser, address(), { dark, width, height: 800 }, async ({ page }) => {
          await convertButton(page).waitFor()
          await assertAccessible(page)
          await assertFits(page)
          if (dark && size === 'wide') return
          await choose(page, 'wasm', small)
          await page.getByLabel('Steps of finetuning').fill('2')
          await convertButton(page).click()
          const curves = page.locator('figure').first()
          await curves.locator('svg').waitFor(patient)
          await curves.scrollIntoViewIfNeeded()
          await picture(page, `convert-${size}${dark ? '-dark' : ''}`)
          await assertAccessible(page)
          await assertFits(page)
        })
      })
    }
  }
})

const convertButton = (page: Page) => page.getByRole('button', { name: 'Convert', exact: true })

async function chooseModel(page: Page, folder: string): Promise<void> {
  await page.locator('input[webkitdirectory]').setInputFiles(folder)
}

/** Waits until the bar says so. */
async function reached(page: Page, words: RegExp): Promise<void> {
  await page.locator('.progress').filter({ hasText: words }).waitFor(patient)
}

/** Chooses what a person would. */
async function choose(page: Page, device: string, { model, text }: SmallModel, chosen = choices): Promise<void> {
  await page.getByLabel('Device').selectOption(device)
  await chooseModel(page, model)
  await page.locator('input[accept*=".txt"]').setInputFiles(text)
  await page.getByLabel('Attention').selectOption(chosen.map)
  await page.getByLabel('Tokens in a sequence').fill(String(chosen.length))
  await page.getByLabel('Sequences in a batch').fill(String(chosen.batch))
  await page.getByLabel('Steps of distillation').fill(String(chosen.distillSteps))
  await page.getByLabel('Steps of finetuning').fill(String(chosen.finetuneSteps))
  await page.getByLabel('Seed').fill(String(chosen.seed))
}

/** Waits for the end and saves the result, as a person would. */
async function downloaded(page: Page) {
  const button = page.getByRole('button', { name: 'Download the model' })
  await Promise.race([
    button.waitFor(patient),
    page
      .getByRole('alert')
      .waitFor(patient)
      .then(async () => assert.fail(await page.getByRole('alert').innerText())),
  ])
  const [download] = await Promise.all([page.waitForEvent('download', patient), button.click()])
  assert.match(download.suggestedFilename(), /^small-hedgehog\.zip$|^tiny-hedgehog\.zip$/)
  const path = `${await download.path()}.zip`
  await download.saveAs(path)
  const source = await finish(openSource(path))
  const plain = await zipFolder(folderSource(dirname(path)), path.slice(dirname(path).length + 1))
  return { source, report: (await readJson(plain, 'report.json')) as unknown as Report }
}

/** Every loss of every stage, and every perplexity, to 1e-3 of its size. */
function assertAlike(report: Report, { entries, curves }: Conversion): void {
  assert.deepEqual(
    report.curves.map(({ name, phase }) => `${phase} ${name}`),
    curves.map(({ name, phase }) => `${phase} ${name}`),
  )
  for (const [i, { points, name }] of curves.entries()) {
    const found = report.curves[i]!.points
    assert.deepEqual(
      found.map(({ step }) => step),
      points.map(({ step }) => step),
    )
    for (const [at, { step, loss, validationLoss }] of points.entries()) {
      assertNear(`${name} step ${step}`, found[at]!.loss, loss)
      if (validationLoss !== undefined)
        assertNear(`${name} step ${step}, held out`, found[at]!.validationLoss!, validationLoss)
    }
  }
  for (const [i, { name, score }] of entries.entries()) assertNear(name, report.rows[i]!.perplexity, score.perplexity)
}

function assertNear(what: string, got: number, want: number): void {
  assert.ok(Math.abs(got - want) <= 1e-3 * Math.abs(want), `${what}: got ${got}, want ${want}`)
}
