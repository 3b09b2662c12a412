/** A place to drop files or a folder on, with buttons that choose them, so that it works without a mouse. */

import { h } from '../dom.ts'

/** Files by path, as a person dropped or chose them. */
export interface Taken {
  /** The folder's name, or the only file's. */
  readonly name: string
  readonly files: Readonly<Record<string, File>>
}

/** What {@link fileDrop} takes. */
export interface FileDropOptions {
  /** What may be dropped here, e.g. `Drop a report here, or choose one.` */
  readonly words: string
  /** The text of the button that chooses a file; without it there is none. */
  readonly chooseFile?: string
  /** The text of the button that chooses a folder; without it there is none. */
  readonly chooseFolder?: string
  /** Whether several files may be chosen at once. Default false. */
  readonly several?: boolean
  /** Which files the button offers, e.g. `.json`. */
  readonly accept?: string
  take(taken: Taken): void
  /** What cannot be read. */
  failed(error: unknown): void
}

/** The place; a drop anywhere on it counts. */
export function fileDrop(options: FileDropOptions): HTMLElement {
  const { words, chooseFile, chooseFolder, several = false, accept, take, failed } = options
  const button = (text: string, folder: boolean) => {
    const input = h('input', {
      type: 'file',
      hidden: true,
      accept,
      webkitdirectory: folder,
      multiple: several && !folder,
      'aria-label': text,
      onchange: () => {
        const files = Array.from(input.files ?? [])
        input.value = ''
        if (files.length > 0) take(chosen(files))
      },
    })
    return [h('button', { type: 'button', onclick: () => input.click() }, text), input]
  }
  const place = h(
    'div',
    { class: 'drop' },
    h('p', {}, words),
    h(
      'div',
      { class: 'actions' },
      chooseFile !== undefined && button(chooseFile, false),
      chooseFolder !== undefined && button(chooseFolder, true),
    ),
  )
  const over = (is: boolean) => (event: Event) => {
    event.preventDefault()
    place.classList.toggle('over', is)
  }
  place.addEventListener('dragover', over(true))
  place.addEventListener('dragleave', over(false))
  place.addEventListener('drop', (event) => {
    over(false)(event)
    if (event.dataTransfer) void dropped(event.dataTransfer).then((taken) => taken && take(taken), failed)
  })
  return place
}

/** Files of an input; those of a folder are named relative to it. */
function chosen(files: readonly File[]): Taken {
  const [first] = files
  const folder = first!.webkitRelativePath.split('/')[0]
  const pathOf = (file: File) => (folder ? file.webkitRelativePath.slice(folder.length + 1) : file.name)
  return { name: folder || first!.name, files: Object.fromEntries(files.map((file) => [pathOf(file), file])) }
}

/** Files of a drop: those of one folder, named relative to it, or the files themselves. */
async function dropped({ items, files }: DataTransfer): Promise<Taken | undefined> {
  // Both must be taken before anything is waited for: the lists are empty after the event.
  const loose = [...files]
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? [])
  const folder = entries.find((entry): entry is FileSystemDirectoryEntry => entry.isDirectory)
  if (folder) return { name: folder.name, files: Object.fromEntries(await filesBelow(folder, '')) }
  return loose.length > 0 ? chosen(loose) : undefined
}

async function filesBelow(folder: FileSystemDirectoryEntry, prefix: string): Promise<[string, File][]> {
  const reader = folder.createReader()
  const found: [string, File][] = []
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (entries.length === 0) return found
    for (const entry of entries) {
      const path = prefix + entry.name
      if (entry.isDirectory) found.push(...(await filesBelow(entry as FileSystemDirectoryEntry, `${path}/`)))
      else found.push([path, await fileOf(entry)])
    }
  }
}

function fileOf(entry: FileSystemEntry): Promise<File> {
  return new Promise((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
}
