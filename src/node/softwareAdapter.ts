/** SwiftShader, a graphics driver that computes on the CPU: WebGPU for tests and checks where there is no GPU. */

import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'

/** Where Debian's and Ubuntu's chromium puts it. */
const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/usr/lib64/chromium-browser']

/** The file that names the driver, where this machine has it. */
export function softwareAdapter(): string | undefined {
  return folders.map((folder) => `${folder}/vk_swiftshader_icd.json`).find((path) => existsSync(path))
}

/**
 * Chooses the driver for this process: to be called before its first device of WebGPU, when the graphics loader looks.
 * A driver that the caller chose is left alone. Returns whether it was chosen.
 */
export function useSoftwareAdapter(): boolean {
  const path = softwareAdapter()
  process.env.XDG_RUNTIME_DIR ??= tmpdir()
  if (!path || process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return false
  process.env.VK_ICD_FILENAMES = path
  return true
}
