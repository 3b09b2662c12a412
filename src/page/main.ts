/** The page's program: navigation between views, the theme, the choice of device. */

import type { ProviderName } from '../web/engine.ts'
import { type App, choices, deskRoom, lookAround, type Mounted, type ViewEntry } from './app.ts'
import { fill, h } from './dom.ts'
import { failure } from './parts/states.ts'
import { views } from './views.ts'

const place = (id: string): HTMLElement => document.getElementById(id)!
const main = place('main')
const nav = place('views')
const voice = place('voice')
const devices = place('device') as HTMLSelectElement
const theme = place('theme') as HTMLSelectElement

const mounted = new Map<string, Mounted>()
const machine = lookAround()
let automatic: ProviderName = 'wasm'
void machine.then(({ webgpu }) => {
  automatic = webgpu ? 'webgpu' : 'wasm'
})

const app: App = {
  device: () => (devices.value === 'automatic' ? automatic : (devices.value as ProviderName)),
  desk: deskRoom(),
  views,
  announce(sentence) {
    voice.textContent = sentence
  },
}

fill(
  nav,
  views.map(({ path, title }) => h('li', {}, h('a', { href: `#/${path}` }, title))),
)

keep(devices, 'device')
keep(theme, 'theme', (value) => {
  if (value === 'automatic') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = value
})

addEventListener('hashchange', () => void show(true))
void show(false)

/** Shows the view that the address names; with `move`, readers are taken to its heading. */
async function show(move: boolean): Promise<void> {
  const path = location.hash.replace(/^#\/?/, '').split('/')[0] ?? ''
  const entry = views.find((view) => view.path === path) ?? views[0]!
  document.title = `${entry.title} · hedgehog`
  for (const link of nav.querySelectorAll('a')) {
    if (link.hash === `#/${entry.path}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  const view = mounted.get(entry.path) ?? (await mount(entry))
  // Another view may have been asked for while this one was loaded.
  if (document.title !== `${entry.title} · hedgehog`) return
  for (const { element } of mounted.values()) element.hidden = element !== view.element
  view.shown?.()
  if (!move) return
  scrollTo(0, 0)
  const heading = view.element.querySelector('h1')
  heading?.setAttribute('tabindex', '-1')
  heading?.focus({ preventScroll: true })
}

async function mount(entry: ViewEntry): Promise<Mounted> {
  let view: Mounted
  try {
    const opened = (await entry.load()).open(app)
    view = { ...opened, element: h('section', { class: 'view' }, h('h1', {}, entry.title), opened.element) }
  } catch (error) {
    const again = () => location.reload()
    view = { element: h('section', { class: 'view' }, h('h1', {}, entry.title), failure(error, again)) }
  }
  mounted.set(entry.path, view)
  if (place('loading')) place('loading').remove()
  main.append(view.element)
  return view
}

/** A select whose choice is kept. */
function keep(select: HTMLSelectElement, name: string, use: (value: string) => void = () => {}): void {
  const kept = choices.get(name)
  if (kept && [...select.options].some(({ value }) => value === kept)) select.value = kept
  use(select.value)
  select.addEventListener('change', () => {
    choices.set(name, select.value)
    use(select.value)
  })
}
