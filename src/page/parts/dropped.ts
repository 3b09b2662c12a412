/** Folders and files that a person drops on the page or chooses. */

import { h } from '../dom.ts'
import type { ModelRef } from '../models.ts'

/** Files by their paths in what was dropped. */
export interface Dropped {
  readonly name: string
  readonly files: Readonly<Record<string, File>>
}

/** A place to drop a folder or files on, with buttons that choose them. */
export function dropPlace(label: string, take: (dropped: Dropped) => void): HTMLElement {
  const folder = input({ webkitdirectory: true, 'aria-label': 'Choose a folder' })
  const files = input({ multiple: true, 'aria-label': 'Choose files' })
  const button = (text: string, chooser: HTMLInputElement) =>
    h('button', { type: 'button', onclick: () => chooser.click() }, text)
  for (const chooser of [folder, files]) {
    chooser.addEventListener('change', () => {
      if (chooser.files?.length) take(chosen([...chooser.files]))
      chooser.value = ''
    })
  }
  const element = h(
    'div',
    { class: 'drop' },
    h('p', {}, label),
    h('div', { class: 'actions' }, button('Choose a folder', folder), button('Choose a file', files), folder, files),
  )
  const over = (event: Event, is: boolean) => {
    event.preventDefault()
    element.classList.toggle('over', is)
  }
  element.addEventListener('dragover', (event) => over(event, true))
  element.addEventListener('dragleave', (event) => over(event, false))
  element.addEventListener('drop', (event) => {
    over(event, false)
    void droppedOn((event as DragEvent).dataTransfer!).then((dropped) => dropped && take(dropped))
  })
  return element
}

/** What was dropped as a model: a zip file alone, else the folder. */
export function modelIn({ name, files }: Dropped): ModelRef {
  const [path, file] = Object.entries(files)[0] ?? []
  if (path !== undefined && Object.keys(files).length === 1 && /\.zip$/i.test(path)) {
    return { kind: 'zip', name: path, file: file! }
  }
  return { kind: 'files', name, files }
}

function input(attributes: Readonly<Record<string, unknown>>): HTMLInputElement {
  return h('input', { type: 'file', hidden: true, tabindex: -1, ...attributes })
}

/** Files of one chosen folder are relative to it. */
function chosen(files: readonly File[]): Dropped {
  const [first] = files
  const folder = first?.webkitRelativePath.split('/')[0]
  if (!folder)
    return { name: first?.name ?? 'files', files: Object.fromEntries(files.map((file) => [file.name, file])) }
  const inner = ({ webkitRelativePath }: File) => webkitRelativePath.slice(folder.length + 1)
  return { name: folder, files: Object.fromEntries(files.map((file) => [inner(file), file])) }
}

async function droppedOn({ items }: DataTransfer): Promise<Dropped | undefined> {
  // Entries must be asked for before anything is waited for.
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? [])
  if (entries.length === 0) return undefined
  const found: Record<string, File> = {}
  const alone = entries.length === 1 && entries[0]!.isDirectory
  for (const entry of entries) await collect(entry, alone ? '' : entry.name, found)
  return { name: alone ? entries[0]!.name : entries.map(({ name }) => name).join(', '), files: found }
}

/** All files of an entry, under `path`, which is empty for the dropped folder itself. */
async function collect(entry: FileSystemEntry, path: string, found: Record<string, File>): Promise<void> {
  if (entry.isFile) {
    found[path] = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) return
    for (const one of some) await collect(one, path === '' ? one.name : `${path}/${one.name}`, found)
  }
}
