/** Form fields with labels, and their values. */

import { type Child, h } from '../dom.ts'

/** A whole number with its range. */
export interface NumberField {
  readonly element: HTMLElement
  /** @throws RangeError naming the field for what is no number of its range. */
  value(): number
  set(value: number): void
}

export function numberField(label: string, first: number, least: number, most: number): NumberField {
  const input = h('input', { type: 'number', min: least, max: most, step: 1, value: first, inputmode: 'numeric' })
  return {
    element: h('label', {}, label, input),
    value() {
      const value = Number(input.value)
      if (input.value !== '' && Number.isInteger(value) && value >= least && value <= most) return value
      throw new RangeError(`${label}: got ${input.value || 'nothing'}, want a whole number from ${least} to ${most}`)
    },
    set(value) {
      input.value = String(value)
    },
  }
}

/** One of several: pairs of value and what is written for it. */
export function choiceField(
  label: Child,
  options: readonly (readonly [value: string, text: string])[],
  first?: string,
) {
  const select = h(
    'select',
    {},
    options.map(([value, text]) => h('option', { value, selected: value === first }, text)),
  )
  return {
    element: h('label', {}, label, select),
    value: () => select.value,
    set(value: string) {
      select.value = value
    },
  }
}

/** The attentions that views offer, with what is special about each. */
export const attentionChoices: readonly (readonly [value: string, text: string])[] = [
  ['hedgehog', 'Hedgehog'],
  ['hedgehog-softmax', 'Hedgehog, softmax over features'],
  ['hybrid:32', 'Hedgehog with a window of 32'],
  ['taylor', 'Taylor'],
  ['t2r', 'T2R'],
  ['elu', 'ELU'],
  ['relu', 'ReLU'],
  ['performer', 'Performer'],
  ['cosformer', 'cosFormer'],
]
