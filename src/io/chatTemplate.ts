/** Chat templates: a conversation to the text that a model reads, by the Jinja template of its checkpoint. */

import type { Source } from './files.ts'
import { readJsonObject, readWhole } from './json.ts'
import { compileTemplate } from './templateLines.ts'

/** One turn of a conversation, as chat interfaces write it; a template may read more keys, e.g. `tool_calls`. */
export interface Message {
  /** Who speaks, commonly `system`, `user`, `assistant` or `tool`. */
  readonly role: string
  readonly content?: unknown
  readonly [key: string]: unknown
}

/** What a template is told besides the messages. */
export interface RenderOptions {
  /** Ends the text where the assistant begins to speak. Default false. */
  readonly addGenerationPrompt?: boolean
  /** The day that `strftime_now` writes, in UTC; without it a template finds no such function. */
  readonly date?: Date
  /** Further variables, e.g. `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>
}

/** A part of a text, in UTF-16 code units; the end is not part of it. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** A conversation's text, and what of it the assistant says. */
export interface Marked {
  readonly text: string
  readonly answers: readonly Span[]
}

/** A template, ready to render. */
export interface ChatTemplate {
  /** Whether the template itself marks what the assistant says, by `{% generation %}`. */
  readonly marksAnswers: boolean
  /** The text of a conversation. @throws Error naming the template's file and line when it fails or refuses. */
  render(messages: readonly Message[], options?: RenderOptions): string
  /** The text with the parts in `{% generation %}`; without these tags there are none. @throws Error as `render`. */
  renderMarked(messages: readonly Message[], options?: RenderOptions): Marked
}

/** Options of {@link chatTemplate}. */
export interface TemplateOptions {
  /** For messages: the file it is from. Default `chat template`. */
  readonly where?: string
  /** Variables that every rendering has: `bos_token`, `eos_token` and so on. */
  readonly specialTokens?: Readonly<Record<string, string>>
}

/** A template from its text. @throws Error naming file and line when it is not in Jinja's language. */
export function chatTemplate(text: string, options: TemplateOptions = {}): ChatTemplate {
  const { where = 'chat template', specialTokens = {} } = options
  const marksAnswers = generationTag.test(text)
  // Without sentinels the engine drops these tags, and a `-` after one then takes space that is before it.
  const run = compileTemplate(marksAnswers ? withSentinels(text) : text, where)
  const renderMarked: ChatTemplate['renderMarked'] = (messages, given = {}) => {
    const { addGenerationPrompt = false, date, variables } = given
    const clock = date && { strftime_now: clockOf(date) }
    const known = { ...specialTokens, ...variables, ...clock, messages, add_generation_prompt: addGenerationPrompt }
    const text = run(known)
    return marksAnswers ? withoutSentinels(text, where) : { text, answers: [] }
  }
  return { marksAnswers, renderMarked, render: (messages, given) => renderMarked(messages, given).text }
}

/** Keys of tokenizer_config.json that templates read as variables. */
const tokenKeys = ['bos_token', 'eos_token', 'pad_token', 'unk_token', 'cls_token', 'sep_token', 'mask_token']

/**
 * The template of a checkpoint folder: its `chat_template.jinja`, else `chat_template` of its `tokenizer_config.json`.
 * @throws Error when there is neither, or naming file and line when it is not a template.
 */
export async function loadChatTemplate(source: Source): Promise<ChatTemplate> {
  const files = await source.list()
  const config = files.includes(configFile) ? await readJsonObject(source, configFile) : {}
  const specialTokens = specialTokensOf(config)
  if (files.includes(templateFile)) {
    const text = new TextDecoder().decode(await readWhole(source, templateFile))
    return chatTemplate(text, { where: `${source.name}/${templateFile}`, specialTokens })
  }
  const where = `${source.name}/${configFile}: chat_template`
  const text = defaultTemplate(config.chat_template, where)
  if (text !== undefined) return chatTemplate(text, { where, specialTokens })
  throw new Error(`${source.name}: has no chat template, want ${templateFile} or chat_template in ${configFile}`)
}

const [templateFile, configFile] = ['chat_template.jinja', 'tokenizer_config.json']

/** A template, or the one named `default` among several. */
function defaultTemplate(found: unknown, where: string): string | undefined {
  if (found === undefined || found === null || typeof found === 'string') return found ?? undefined
  const named = Array.isArray(found) ? found.map(Object) : []
  const chosen = named.find(({ name }) => name === 'default')?.template
  if (typeof chosen === 'string') return chosen
  const names = named.map(({ name }) => String(name)).join(', ')
  throw new Error(`${where}: got ${names || typeof found}, want a text or a list with one named default`)
}

function specialTokensOf(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const text = (token: unknown) => (typeof token === 'string' ? token : Object(token).content)
  const pairs = tokenKeys.map((key) => [key, text(config[key])] as const)
  return Object.fromEntries(pairs.filter((pair): pair is [string, string] => typeof pair[1] === 'string'))
}

const generationTag = /\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}(\n?)/

/** Noncharacters of Unicode, which no text for interchange has. */
const [opens, closes] = ['\uFDD0', '\uFDD1']

/** Writes sentinels where the tags stand; the feed after a tag goes with it, as after every block tag. */
function withSentinels(text: string): string {
  const lines = text.replace(/^[ \t]*(\{%\s*(?:end)?generation)/gm, '$1')
  return lines.replace(new RegExp(generationTag, 'g'), (_, before, end, after, feed) => {
    const [open, close] = [before === '-' ? '-' : '', after === '-' ? '-' : '']
    // An empty line in a tag, so that the lines that follow keep their numbers.
    return `{{${open} '${end ? closes : opens}'${feed} ${close}}}`
  })
}

function withoutSentinels(text: string, where: string): Marked {
  const parts = text.split(new RegExp(`[${opens}${closes}]`))
  const order = text.match(new RegExp(`[${opens}${closes}]`, 'g')) ?? []
  if (order.some((mark, i) => mark !== (i % 2 === 0 ? opens : closes)) || order.length % 2 !== 0) {
    throw new Error(`${where}: generation and endgeneration do not take turns, or the text has U+FDD0 or U+FDD1`)
  }
  const answers: Span[] = []
  let at = 0
  parts.forEach((part, i) => {
    if (i % 2 === 1) answers.push({ start: at, end: at + part.length })
    at += part.length
  })
  return { text: parts.join(''), answers }
}

const months = 'January February March April May June July August September October November December'.split(' ')
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

/** `strftime` for one moment; codes it does not know stay as they are. */
function clockOf(date: Date): (format: unknown) => string {
  const two = (value: number) => String(value).padStart(2, '0')
  const [month, day] = [months[date.getUTCMonth()]!, days[date.getUTCDay()]!]
  const codes: Readonly<Record<string, string>> = {
    ...{ Y: String(date.getUTCFullYear()), y: two(date.getUTCFullYear() % 100), m: two(date.getUTCMonth() + 1) },
    ...{ B: month, b: month.slice(0, 3), d: two(date.getUTCDate()), A: day, a: day.slice(0, 3) },
    ...{ H: two(date.getUTCHours()), M: two(date.getUTCMinutes()), S: two(date.getUTCSeconds()), '%': '%' },
  }
  return (format) => String(format).replace(/%(.)/g, (whole, code: string) => codes[code] ?? whole)
}
