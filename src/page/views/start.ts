/** The first view: what the page is for, and a check of what this browser has. */

import { formatSeconds } from '../../base/format.ts'
import type { ProviderName } from '../../web/engine.ts'
import { type App, lookAround, type Mounted } from '../app.ts'
import { fill, h } from '../dom.ts'
import type { CheckResult } from '../protocol.ts'

const names: Readonly<Record<ProviderName, string>> = { wasm: 'WebAssembly', webgpu: 'WebGPU' }

export function open(app: App): Mounted {
  const machine = h('dl', { class: 'facts' })
  const results = h('dl', { class: 'facts', 'aria-live': 'polite' })
  const button = h('button', { type: 'button', onclick: () => void check() }, 'Check this browser')
  void lookAround().then(({ webgpu, isolated, cores }) =>
    fill(
      machine,
      fact(
        'WebGPU',
        webgpu
          ? 'there is a graphics processor'
          : 'none, or one that computes on the processor: WebAssembly does the work',
      ),
      fact(
        'Threads',
        isolated
          ? `WebAssembly may use ${cores} cores`
          : 'WebAssembly has one thread, as the server does not isolate this page: send the headers ' +
              'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',
      ),
    ),
  )

  async function check(): Promise<void> {
    button.disabled = true
    fill(results)
    for (const device of ['wasm', 'webgpu'] as const) {
      const words = await app
        .desk('start')
        .run('check', { device })
        .then(found, (error: Error) => error.message)
      results.append(...fact(names[device], words))
    }
    button.disabled = false
  }

  return {
    element: h(
      'div',
      {},
      h(
        'p',
        { class: 'lead' },
        'hedgehog turns Transformers into models with linear attention, whose memory does not grow with the text. ' +
          'All of it runs in this tab: nothing that you type or drop leaves your machine.',
      ),
      h(
        'ul',
        { class: 'cards' },
        app.views
          .slice(1)
          .map(({ path, title, about }) =>
            h('li', {}, h('a', { href: `#/${path}` }, title), h('p', { class: 'soft' }, about)),
          ),
      ),
      h('h2', {}, 'This browser'),
      machine,
      h('p', {}, button),
      results,
    ),
  }
}

const found = ({ error, openSeconds, runSeconds, threads }: CheckResult): string =>
  `works: opened in ${formatSeconds(openSeconds)}, first run ${Math.round(runSeconds * 1000)} ms, ` +
  `${threads} thread${threads === 1 ? '' : 's'}, error ${error.toExponential(1)}`

function fact(name: string, value: string): HTMLElement[] {
  return [h('dt', {}, name), h('dd', {}, value)]
}
