/** The page in chromium: training steps beside Node's, tokens written, first paint, and how long typing can be held up. */

import type { Browser, Page } from 'playwright-core'
import { finish, type Progress } from '../src/base/progress.ts'
import { settingsOf } from '../src/experiments/experiment.ts'
import { recallExperiments, smallRecall, trainedAt } from '../src/experiments/recall.ts'
import { openDevice } from '../src/node/device.ts'
import type { JobName, Jobs } from '../src/page/protocol.ts'
import { openBrowser, openSite, skip, visit } from '../test/web/browser.ts'
import { watchTasks } from '../test/web/checks.ts'
import type { Bench, Row } from './row.ts'

const targets = { paintSeconds: 2, taskMilliseconds: 50 }
/** Milliseconds in which a view draws its first answer. */
const settling = 2000
const recall = { map: 'hedgehog', length: 16, vocab: 20, seed: 0 }

export const pageBench: Bench = {
  summary:
    'the page in chromium: training steps, tokens written, first paint, tasks of the main thread (0: under 50 ms)',
  target: `first usable paint within ${targets.paintSeconds} s, no task over ${targets.taskMilliseconds} ms while one types and a job runs`,
  async run({ quick, note }) {
    if (skip) throw new Error(skip)
    const [browser, site] = await Promise.all([openBrowser(false), openSite()])
    const rows: Row[] = []
    try {
      note('first paint')
      rows.push(await firstPaint(browser, site.address))
      await visit(browser, site.address, {}, async ({ page }) => {
        note('training steps')
        rows.push(await trainingSteps(page, quick ? 30 : 300))
        note('tokens written')
        rows.push(await tokensWritten(page, quick ? 8 : 120))
      })
      note('tasks of the main thread while a model is converted')
      rows.push(...(await longestTasks(browser, site.address, quick ? 2 : 20)))
      return rows
    } finally {
      await browser.close()
      await site.close()
    }
  },
}

/** From the request to the view with its heading, links and buttons, nothing in any cache. */
async function firstPaint(browser: Browser, address: string): Promise<Row> {
  const context = await browser.newContext()
  try {
    const page = await context.newPage()
    const began = performance.now()
    await page.goto(address, { waitUntil: 'commit' })
    await page.getByRole('button', { name: 'Check this browser' }).waitFor()
    const value = (performance.now() - began) / 1000
    return { case: 'first usable paint', value, unit: 's', target: targets.paintSeconds }
  } finally {
    await context.close()
  }
}

/** Steps of the experiment associative-recall, one thread on both sides, from the fifth step on. */
async function trainingSteps(page: Page, steps: number): Promise<Row> {
  const { news } = await inWorker(page, 'recall', { ...recall, steps, device: 'wasm' })
  const own = rateOf(news)
  const changed = { length: recall.length, vocab: recall.vocab, steps }
  const settings = settingsOf(recallExperiments['associative-recall'], false, changed)
  const setup = { device: await openDevice('cpu', { threads: 1 }), settings, seed: recall.seed, clock }
  const seen: Progress[] = []
  await finish(trainedAt(recall.map, settings.fastest!, setup, smallRecall.draw), (progress) => seen.push(progress))
  const node = rateOf(seen)
  return { case: 'training, wasm', value: own, unit: 'steps/s', peer: 'Node, CPU', ratio: own / node }
}

/** The bundled model, converted, writing one token after the other. */
async function tokensWritten(page: Page, maxTokens: number): Promise<Row> {
  const speaking = {
    device: 'wasm',
    model: { kind: 'site', folder: 'models/tiny', converted: true },
    choice: 1,
  } as const
  const wish = { ...speaking, from: 0, text: 'The old house', temperature: 0.8, topP: 1, seed: 0, maxTokens }
  const { news } = await inWorker(page, 'write', wish)
  const last = news.findLast((one) => one.kind === 'text')
  if (last?.kind !== 'text') throw new Error('the page wrote nothing')
  return { case: 'tokens written, wasm', value: (last.speed.written - 1) / last.speed.seconds, unit: 'tokens/s' }
}

/** While the bundled model is converted and its curves are drawn, a person opens another view, and types in it. */
async function longestTasks(browser: Browser, address: string, seconds: number): Promise<Row[]> {
  const longest = { opening: 0, typing: 0 }
  await visit(browser, `${address}#/convert`, {}, async ({ page }) => {
    await page.getByLabel('Device').selectOption('wasm')
    await page.getByRole('button', { name: 'Convert', exact: true }).click()
    await page.locator('.progress').filter({ hasText: 'score' }).waitFor({ timeout: 120_000 })
    const opened = await watchTasks(page)
    await page.getByRole('link', { name: 'Attention', exact: true }).first().click()
    const text = page.getByRole('textbox').first()
    await text.pressSequentially('a ', { delay: 60 })
    await page.locator('figure').first().waitFor({ timeout: 120_000 })
    await page.waitForTimeout(settling)
    longest.opening = await opened()
    const typed = await watchTasks(page)
    const end = performance.now() + seconds * 1000
    while (performance.now() < end) await text.pressSequentially('the hedgehog sees ', { delay: 60 })
    longest.typing = await typed()
  })
  const row = (name: string, value: number) => ({ case: name, value, unit: 'ms' })
  return [
    row('longest task, a view opens', longest.opening),
    { ...row('longest task, one types', longest.typing), target: targets.taskMilliseconds },
  ]
}

/** A job in a worker of the page's program, without its views. */
async function inWorker<N extends JobName>(page: Page, name: N, input: Jobs[N]['input']) {
  const found = await page.evaluate(
    ([name, input]) =>
      new Promise<{ news: unknown[]; result: unknown }>((resolve, reject) => {
        const worker = new Worker(new URL('worker.js', document.baseURI), { type: 'module' })
        const news: unknown[] = []
        worker.onmessage = ({ data }) => {
          if (data.kind === 'news') news.push(data.news)
          else if (data.kind === 'done') resolve({ news, result: data.result })
          else reject(new Error(data.message))
          if (data.kind !== 'news') worker.terminate()
        }
        worker.postMessage({ kind: 'start', id: 0, name, input })
      }),
    [name, input] as const,
  )
  return found as { readonly news: Jobs[N]['news'][]; readonly result: Jobs[N]['result'] }
}

/** Steps a second, without the first, which open sessions. */
function rateOf(seen: readonly Progress[]): number {
  const steps = seen.filter(({ metrics }) => metrics?.loss !== undefined)
  const [first, last] = [steps[4]!, steps.at(-1)!]
  return (last.step - first.step) / (last.seconds - first.seconds)
}

const clock = () => performance.now() / 1000
