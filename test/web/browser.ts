/** A real browser with the real page: chromium, driven by playwright-core, on a server of its own. */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { buildPage } from '../../scripts/page/build.ts'
import { type ServeOptions, servePage } from '../../scripts/page/serve.ts'

/** Where Debian, Ubuntu and others put chromium. */
export const chromiumPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)

/** Why tests that need a browser are skipped; false where there is one. */
export const skip = chromiumPath ? false : 'there is no chromium; npm run test:web installs it'

/** A page in a browser. */
export interface Visit {
  readonly page: Page
  readonly browser: Browser
  readonly address: string
  /** What the page wrote to the console as errors. */
  readonly errors: string[]
}

/** What a visit is made with. */
export interface VisitOptions extends ServeOptions {
  readonly width?: number
  readonly height?: number
  readonly dark?: boolean
  /** Whether there is WebGPU, computed in software. Default true. */
  readonly webgpu?: boolean
}

const graphics = '/usr/lib/chromium/vk_swiftshader_icd.json'

/** Starts chromium, with WebGPU by SwiftShader where its driver is found. */
export function openBrowser(webgpu = true): Promise<Browser> {
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--enable-precise-memory-info']
  if (webgpu) args.push('--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan')
  return chromium.launch({
    executablePath: chromiumPath!,
    args,
    env: { ...process.env, ...(existsSync(graphics) && { VK_ICD_FILENAMES: graphics }) } as Record<string, string>,
  })
}

/** A built page and a server for it, for the tests of a file. */
export async function openSite(options: ServeOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'hedgehog-page-'))
  const site = join(folder, 'page')
  await buildPage(site)
  const server = await servePage(site, options)
  return {
    site,
    address: server.address,
    async close() {
      await server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Opens an address in a window of its own, which shares nothing with others, and closes it at the end. */
export async function visit(
  browser: Browser,
  address: string,
  { width = 1100, height = 900, dark = false }: VisitOptions,
  use: (visit: Visit) => Promise<void>,
): Promise<void> {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' })
  const errors: string[] = []
  const page = await context.newPage()
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
  page.on('pageerror', (error) => errors.push(error.message))
  try {
    await page.goto(address)
    await use({ page, browser, address, errors })
  } finally {
    await context.close()
  }
}

/** The folder of screenshots in docs/. */
export const screenshots = join(dirname(new URL(import.meta.url).pathname), '../../docs/screenshots')
