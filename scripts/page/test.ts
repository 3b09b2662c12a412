/**
 * Uses every view of the page in a real browser: `npm run test:web`, with `-- NAME` those whose file has NAME in its name.
 * Installs chromium where it is missing and that can be done: by apt-get, as root.
 */

import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromiumPath } from '../../test/web/browser.ts'
import { root } from '../packages.ts'

if (!chromiumPath) install()
const folder = join(root, 'test/web/views')
const wanted = process.argv[2] ?? ''
const files = readdirSync(folder).filter((name) => name.endsWith('.test.ts') && name.includes(wanted))
const command = ['--import', 'tsx', '--test', '--test-concurrency=1', ...files.map((name) => join(folder, name))]
process.exitCode = spawnSync(process.execPath, command, { stdio: 'inherit', cwd: root }).status ?? 1

function install(): void {
  const isRoot = process.getuid?.() === 0
  if (!isRoot || !has('apt-get')) {
    const advice = isRoot ? 'with your package manager' : 'with: sudo apt-get install chromium libvulkan1'
    console.error(`npm run test:web: there is no chromium on this machine; install it ${advice}`)
    process.exit(1)
  }
  execFileSync('apt-get', ['install', '--yes', '--no-install-recommends', 'chromium', 'libvulkan1'], {
    stdio: 'inherit',
  })
  // Its path is looked up when the module is loaded.
  process.exit(
    spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit' }).status ?? 1,
  )
}

function has(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}
