/** The view of reports: files that the command line wrote, drawn as their own pages draw them. */

import { readReport } from '../../report/reading.ts'
import { fetched } from '../../web/http.ts'
import type { App, Mounted } from '../app.ts'
import { fill, h } from '../dom.ts'
import { fileDrop } from '../parts/fileDrop.ts'
import { drawSections } from '../parts/sections.ts'
import { failure } from '../parts/states.ts'

/** Reports that come with the page. */
const examples: readonly { readonly file: string; readonly title: string }[] = [
  { file: 'tiny.json', title: 'The bundled model, converted' },
  { file: 'properties.json', title: 'Sixteen attentions on the same queries and keys' },
  { file: 'associative-recall.json', title: 'Associative recall' },
  { file: 'spam.json', title: 'A spam filter, converted by every map' },
]

/** No report is larger; a file that is would only hold up the page. */
const mostBytes = 64e6

export function open(app: App): Mounted {
  const place = h('article', { class: 'report' })
  const message = h('div')
  /** Counts what was opened, so that the drawing of an earlier file ends. */
  let opened = 0

  async function show(name: string, read: () => Promise<string>): Promise<void> {
    const own = ++opened
    fill(message, h('p', { class: 'soft' }, `Opening ${name} …`))
    try {
      const report = readReport(name, await read())
      if (own !== opened) return
      fill(message)
      await drawSections(place, report.sections, () => own === opened)
      if (own !== opened) return
      app.announce(`${report.title} is shown: ${report.kind}, ${report.sections.length} sections.`)
      focus(place.querySelector('h2'))
    } catch (error) {
      if (own === opened) fill(message, failure(error))
    }
  }

  return {
    element: h(
      'div',
      {},
      h(
        'p',
        { class: 'lead' },
        'Open what the command line wrote: report.json of hedgehog convert, inspect.json of inspect, result.json of experiment.',
      ),
      fileDrop({
        words: 'Drop a report here, or choose one. It stays on your machine.',
        chooseFile: 'Choose a file…',
        accept: '.json,application/json',
        take({ files }) {
          const [file] = Object.values(files)
          if (file) void show(file.name, () => textOf(file))
        },
        failed: (error) => fill(message, failure(error)),
      }),
      h('p', { class: 'soft' }, 'Or look at one of these:'),
      h(
        'ul',
        { class: 'examples' },
        examples.map(({ file, title }) => {
          const onclick = () => void show(file, () => exampleText(file))
          return h('li', {}, h('button', { type: 'button', class: 'plain', onclick }, title))
        }),
      ),
      message,
      place,
    ),
  }
}

async function textOf(file: File): Promise<string> {
  if (file.size > mostBytes) throw new Error(`${file.name}: is too large for a report; want at most 64 MB`)
  return file.text()
}

async function exampleText(file: string): Promise<string> {
  return (await fetched(new URL(`results/${file}`, document.baseURI).href, { cache: 'no-cache' })).text()
}

function focus(heading: HTMLElement | null): void {
  heading?.setAttribute('tabindex', '-1')
  heading?.focus()
}
