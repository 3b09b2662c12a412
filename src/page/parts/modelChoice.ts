/** The choice of a model: those of the page, those that were converted here, and what is dropped. */

import { storageSource } from '../../web/storage.ts'
import { fill, h } from '../dom.ts'
import { bundledConverted, bundledModel, conversionsFolder, type ModelRef, modelIn, modelName } from '../models.ts'
import { fileDrop } from './fileDrop.ts'
import { failure } from './states.ts'

/** A field with which a person chooses a model. */
export interface ModelChoice {
  readonly element: HTMLElement
  value(): ModelRef
  /** Looks again for models that were converted here. */
  refresh(): Promise<void>
}

/** Options of {@link modelChoice}. */
export interface ModelChoiceOptions {
  /** Whether models that are converted already can be chosen. */
  readonly converted: boolean
  readonly first: ModelRef
  readonly changed: () => void
  /** Whether the place to drop a model on is shown only when it is asked for. Default false. */
  readonly folded?: boolean
}

export function modelChoice({ converted, first, changed, folded = false }: ModelChoiceOptions): ModelChoice {
  let dropped: ModelRef | undefined
  let stored: readonly ModelRef[] = []
  let chosen = first
  const select = h('select', { onchange: () => choose(all()[select.selectedIndex]!) })
  const all = (): readonly ModelRef[] => [
    bundledModel,
    ...(converted ? [bundledConverted, ...stored] : []),
    ...(dropped ? [dropped] : []),
  ]
  const fault = h('div')
  const place = fileDrop({
    words: 'Or drop a model here: a folder with config.json, a GGUF file, or a zip that was saved on this page',
    chooseFolder: 'Choose a folder',
    chooseFile: 'Choose a file',
    several: true,
    take(taken) {
      fill(fault)
      dropped = modelIn(taken.name, taken.files)
      choose(dropped)
      paint()
    },
    failed: (error) => fill(fault, failure(error)),
  })
  const choose = (ref: ModelRef) => {
    chosen = ref
    changed()
  }
  const paint = () => {
    fill(
      select,
      all().map((ref) => h('option', { selected: same(ref, chosen) }, label(ref))),
    )
  }
  const refresh = async () => {
    const files = await storageSource(conversionsFolder)
      .list()
      .catch((): readonly string[] => [])
    stored = files.flatMap((path) => {
      const [name, file, ...rest] = path.split('/')
      return file === 'config.json' && rest.length === 0 ? [{ kind: 'stored' as const, name: name! }] : []
    })
    paint()
  }
  paint()
  if (converted) void refresh()
  return {
    element: h(
      'div',
      { class: 'choice' },
      h('label', { class: 'field' }, 'Model', select),
      folded ? h('details', {}, h('summary', {}, 'Another model'), place) : place,
      fault,
    ),
    value: () => chosen,
    refresh,
  }
}

function label(ref: ModelRef): string {
  const from = { site: '', files: ' (dropped)', zip: ' (dropped)', stored: ' (converted here)' }[ref.kind]
  return modelName(ref) + from
}

function same(a: ModelRef, b: ModelRef): boolean {
  return a === b || (a.kind === 'stored' && b.kind === 'stored' && a.name === b.name)
}
