/** How a checkpoint's tokenizer puts its special tokens around one sequence or two. */

import { isObject } from '../io/json.ts'
import type { Tokenizer } from '../io/tokenizer.ts'
import { type Pack, packing } from './pack.ts'

/**
 * The packing that the post-processor of a `tokenizer.json` describes (`TemplateProcessing`, `BertProcessing`,
 * `RobertaProcessing`, alone or in a `Sequence`); without one of these, sequences as they are.
 * @param options.maxLength the most tokens in all, special ones included
 * @throws Error when it describes something else than tokens before, between and after two sequences.
 */
export function packingOf({ json }: Pick<Tokenizer, 'json'>, { maxLength }: { readonly maxLength: number }): Pack {
  const processor = processorOf((json as Readonly<Record<string, unknown>>).post_processor)
  if (!processor) return packing({ maxLength })
  if (processor.type === 'TemplateProcessing') return packing({ maxLength, ...templateParts(processor) })
  const [before, after] = [pairId(processor.cls), pairId(processor.sep)]
  const isBert = processor.type === 'BertProcessing'
  return packing({ maxLength, before, after, between: isBert ? after : [...after, ...after], types: isBert })
}

type Described = Readonly<Record<string, unknown>>

const known = ['TemplateProcessing', 'BertProcessing', 'RobertaProcessing']

function processorOf(found: unknown): Described | undefined {
  if (!isObject(found)) return undefined
  if (found.type === 'Sequence' && Array.isArray(found.processors)) {
    return found.processors.map(processorOf).find((one) => one !== undefined)
  }
  return known.includes(String(found.type)) ? found : undefined
}

/** The id of `["[CLS]", 101]`. */
function pairId(pair: unknown): number[] {
  const id: unknown = Array.isArray(pair) ? pair[1] : undefined
  if (Number.isInteger(id)) return [id as number]
  throw new Error(`tokenizer.json: post_processor: got ${JSON.stringify(pair)}, want a token and its id`)
}

/** What stands around `$A` and `$B` in a template. */
function templateParts({ single, pair, special_tokens: special }: Described) {
  const ids = (pieces: readonly unknown[]) => pieces.flatMap((piece) => specialIds(piece, special))
  const alone = pieces(single, ['A'])
  const [before, rest] = [alone[0]!, alone[1]!]
  const parts = { before: ids(before), after: ids(rest) }
  if (pair === undefined || pair === null) return parts
  const both = pieces(pair, ['A', 'B'])
  const same = `${ids(both[0]!)}` === `${parts.before}` && `${ids(both[2]!)}` === `${parts.after}`
  if (!same) throw new Error('tokenizer.json: post_processor: one sequence and two begin or end with other tokens')
  return { ...parts, between: ids(both[1]!), types: typeOfSecond(pair) === 1 }
}

/** The pieces before, between and after the sequences of the given names, in this order. */
function pieces(template: unknown, names: readonly string[]): unknown[][] {
  const parts: unknown[][] = [[]]
  const found: unknown[] = []
  for (const piece of Array.isArray(template) ? template : []) {
    const name: unknown = Object(Object(piece).Sequence).id
    if (name === undefined) parts.at(-1)!.push(piece)
    else {
      found.push(name)
      parts.push([])
    }
  }
  if (`${found}` === `${names}`) return parts
  throw new Error(
    `tokenizer.json: post_processor: got the sequences ${found.join(', ') || 'none'}, want ${names.join(', ')}`,
  )
}

function specialIds(piece: unknown, special: unknown): number[] {
  const name: unknown = Object(Object(piece).SpecialToken).id
  const ids: unknown = Object(Object(special)[String(name)]).ids
  if (Array.isArray(ids) && ids.every(Number.isInteger)) return ids
  throw new Error(`tokenizer.json: post_processor: got ${JSON.stringify(piece)}, want a token of its special_tokens`)
}

function typeOfSecond(pair: unknown): unknown {
  const second = (pair as readonly unknown[]).find((piece) => Object(Object(piece).Sequence).id === 'B')
  return Object(Object(second).Sequence).type_id
}
