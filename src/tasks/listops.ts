/** ListOps of the Long Range Arena: nested operators on lists of digits, drawn as its generator draws them. */

import { type Random, random } from '../base/random.ts'
import { checkSizes } from './draws.ts'
import type { Example } from './examples.ts'

/** What a ListOps expression is written in; a token's id is its place, 0 is padding. */
export const listOpsVocabulary = [
  '<pad>',
  ...Array.from({ length: 10 }, (_, digit) => String(digit)),
  '[MIN',
  '[MAX',
  '[MED',
  '[SM',
  ']',
] as const

const idOf: ReadonlyMap<string, number> = new Map(listOpsVocabulary.map((token, id) => [token, id]))
const close = idOf.get(']')!

/** The operators by the id of their token. */
const operators: ReadonlyMap<number, (values: readonly number[]) => number> = new Map([
  [idOf.get('[MIN')!, (values) => Math.min(...values)],
  [idOf.get('[MAX')!, (values) => Math.max(...values)],
  [idOf.get('[MED')!, median],
  [idOf.get('[SM')!, (values) => values.reduce((sum, value) => sum + value, 0) % 10],
])
const operatorIds = [...operators.keys()]

/** Chance that a place in a list, above the largest depth, is a list again. */
const nesting = 0.25

const mostFailures = 300_000

/** What expressions are drawn; the defaults are those of the release. */
export interface ListOpsOptions {
  /** Expressions have more tokens than this, operators, digits and closing brackets counted. Default 500. */
  readonly minLength?: number
  /** Expressions have fewer tokens than this. Default 2000. */
  readonly maxLength?: number
  /** Levels of an expression, the digits' own counted, so lists nest one less. Default 10. */
  readonly maxDepth?: number
  /** The most values of an operator, at least 2. Default 10. */
  readonly maxArguments?: number
}

/**
 * Different expressions without end, each as token ids of {@link listOpsVocabulary} with its value as label.
 * Splits are consecutive parts of one such sequence, so no expression is in two of them.
 * @throws RangeError for sizes that cannot be; Error when very many draws gave no new expression.
 */
export function* listOps(options: ListOpsOptions, { seed }: { readonly seed: number }): Generator<Example<Uint8Array>> {
  const { minLength = 500, maxLength = 2000, maxDepth = 10, maxArguments = 10 } = options
  checkSizes('listOps', 0, { minLength })
  checkSizes('listOps', minLength + 2, { maxLength })
  checkSizes('listOps', 1, { maxDepth })
  checkSizes('listOps', 2, { maxArguments })
  const rng = random(seed).split('listops')
  const tokens = new Uint8Array(maxLength)
  const seen = new Set<string>()
  for (let failed = 0; failed < mostFailures; failed++) {
    const found = drawTree(tokens, { maxDepth, maxArguments }, rng)
    if (!found || found.length <= minLength) continue
    const input = tokens.slice(0, found.length)
    const key = String.fromCharCode(...input)
    if (seen.has(key)) continue
    seen.add(key)
    yield { input, label: found.value }
    failed = 0
  }
  throw new Error(
    `listOps: ${mostFailures} draws gave no new expression of length ${minLength + 1} to ${maxLength - 1}; widen the lengths`,
  )
}

/** Writes one expression into `tokens`; nothing comes back when it does not stay shorter than they are. */
function drawTree(
  tokens: Uint8Array,
  { maxDepth, maxArguments }: { readonly maxDepth: number; readonly maxArguments: number },
  rng: Random,
): { readonly value: number; readonly length: number } | undefined {
  let length = 0
  const tree = (depth: number): number => {
    if (length >= tokens.length) return 0
    if (depth >= maxDepth || rng.uniform() > nesting) {
      const digit = rng.integer(10)
      tokens[length++] = digit + 1
      return digit
    }
    const at = length++
    const values = Array.from({ length: 2 + rng.integer(maxArguments - 1) }, () => tree(depth + 1))
    const operator = operatorIds[rng.integer(operatorIds.length)]!
    tokens[at] = operator
    if (length < tokens.length) tokens[length] = close
    length++
    return operators.get(operator)!(values)
  }
  const value = tree(1)
  return length < tokens.length ? { value, length } : undefined
}

/** The middle value, of an even number the mean of the middle two without its half. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  return Math.floor((sorted[Math.ceil(half) - 1]! + sorted[Math.floor(half)]!) / 2)
}

/**
 * The token ids of an expression as the release writes it. Its round brackets carry nothing and are dropped.
 * @throws Error for a word that is none of the vocabulary.
 */
export function listOpsTokens(source: string, where = 'listOpsTokens'): Uint8Array {
  const words = source.split(' ').filter((word) => word !== '' && word !== '(' && word !== ')')
  return Uint8Array.from(words, (word) => {
    const id = idOf.get(word)
    if (id) return id
    throw new Error(`${where}: got ${JSON.stringify(word)}, want one of ${listOpsVocabulary.slice(1).join(' ')}`)
  })
}

/** An expression as the release writes it: one pair of round brackets per step of the evaluation. */
export function listOpsSource(tokens: Uint8Array): string {
  const lists: string[][] = [[]]
  for (const id of tokens) {
    const token = listOpsVocabulary[id]!
    if (operators.has(id)) lists.push([token])
    else if (id !== close) lists.at(-1)!.push(token)
    else lists.at(-2)!.push([...lists.pop()!, token].reduce((left, right) => `( ${left} ${right} )`))
  }
  return lists[0]!.join(' ')
}

/**
 * The tokens without closing brackets, as the Long Range Arena's own models read them: its tokenizer keeps letters and
 * digits only (`lra_benchmarks/listops/input_pipeline.py`). Where a list ends is then unsaid, so that some expressions
 * have several readings; later work keeps the bracket.
 */
export function withoutClosing(tokens: Uint8Array): Uint8Array {
  return tokens.filter((id) => id !== close)
}
