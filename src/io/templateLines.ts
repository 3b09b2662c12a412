/**
 * Jinja templates that know the line they fail in. The engine keeps no positions, so before each tag stands a mark that
 * notes the tag's line when it is run and writes nothing.
 */

import { parse, Template, tokenize } from '@huggingface/jinja'

type Token = ReturnType<typeof tokenize>[number]

/** Renders with the given variables. @throws Error `where:line: …` when the template fails or refuses. */
export type Render = (variables: Readonly<Record<string, unknown>>) => string

/** As transformers sets them for chat templates. */
const blocks = { lstrip_blocks: true, trim_blocks: true }

/** Names that no template can write. */
const [markName, clockName] = ['line mark', 'clock']

/**
 * Compiles a template. The only clock it has is a variable `strftime_now`, where one is given: the engine's own would make
 * a text depend on the day.
 * @throws Error `where:line: …` when it is not in Jinja's language.
 */
export function compileTemplate(text: string, where: string): Render {
  const tags = tagsOf(text)
  const tokens = lexed(text, tags, where)
  const lines = linesOf(tokens, tags)
  check(tokens, lines, where)
  const template = new Template('')
  template.parsed = parse(marked(tokens, lines))
  return ({ strftime_now: clock, ...variables }) => {
    let line = 0
    const note = (at: number) => {
      line = at
    }
    try {
      return template.render({ ...variables, [markName]: note, [clockName]: clock })
    } catch (error) {
      throw failure(where, line, error)
    }
  }
}

/** A tag of the source, with the line it begins on. */
interface Tag {
  readonly end: number
  readonly line: number
}

const strings = /'(?:\\[\s\S]|[^'\\])*'|"(?:\\[\s\S]|[^"\\])*"|[^'"]/.source
const tagPattern = new RegExp(`\\{\\{(?:${strings})*?\\}\\}|\\{%(?:${strings})*?%\\}|\\{#[\\s\\S]*?#\\}`, 'g')

/** All tags in order. */
function tagsOf(text: string): Tag[] {
  let [line, counted] = [1, 0]
  return Array.from(text.matchAll(tagPattern), ({ 0: tag, index }) => {
    line += feeds(text.slice(counted, index))
    counted = index
    return { end: index + tag.length, line }
  })
}

function feeds(text: string): number {
  return text.split('\n').length - 1
}

function lexed(text: string, tags: readonly Tag[], where: string): Token[] {
  try {
    return tokenize(text, blocks)
  } catch (error) {
    const bad = tags.find(({ end }) => !isLexed(text.slice(0, end)))
    const after = tags.at(-1)?.end ?? 0
    const unclosed = after + Math.max(0, text.slice(after).search(/\{[{%#]/))
    throw failure(where, bad?.line ?? 1 + feeds(text.slice(0, unclosed)), error)
  }
}

function isLexed(text: string): boolean {
  try {
    tokenize(text, blocks)
    return true
  } catch {
    return false
  }
}

const opening: readonly string[] = ['OpenStatement', 'OpenExpression', 'Comment']

/** The line of each token: that of its tag. All 0 where the engine sees other tags than we do. */
function linesOf(tokens: readonly Token[], tags: readonly Tag[]): number[] {
  let seen = 0
  const lines = tokens.map(({ type }) => {
    if (opening.includes(type)) seen += 1
    return tags[seen - 1]?.line ?? 1
  })
  return seen === tags.length ? lines : lines.map(() => 0)
}

/** Parses once while watching which token the parser is at. */
function check(tokens: Token[], lines: readonly number[], where: string): void {
  let latest = 0
  const watched = new Proxy(tokens, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) latest = Number(key)
      return Reflect.get(target, key)
    },
  })
  try {
    parse(watched)
  } catch (error) {
    if (latest < tokens.length) throw failure(where, lines[latest]!, error)
    const { name, index } = openBlock(tokens)
    throw failure(where, lines[index]!, new Error(`${name} has no end`))
  }
}

/** The innermost block that is open at the end. */
function openBlock(tokens: readonly Token[]): { readonly name: string; readonly index: number } {
  const open: { name: string; index: number }[] = []
  tokens.forEach((token, index) => {
    const name = tokens[index + 1]?.value ?? ''
    if (token.type !== 'OpenStatement') return
    if (name.startsWith('end')) open.pop()
    else if (['if', 'for', 'macro', 'call', 'filter'].includes(name)) open.push({ name, index })
    else if (name === 'set' && tokens[index + 3]?.type === 'CloseStatement') open.push({ name, index })
  })
  return open.at(-1) ?? { name: 'the last tag', index: tokens.length - 1 }
}

/** The same template with marks before all tags, and in the conditions of `elif`, which no mark can stand before. */
function marked(tokens: readonly Token[], lines: readonly number[]): Token[] {
  let inElif = false
  return tokens.flatMap((token, i): Token[] => {
    const mark = [piece('Identifier', markName), piece('OpenParen', '('), piece('NumericLiteral', `${lines[i]}`)]
    const call = [...mark, piece('CloseParen', ')')]
    if (token.type === 'OpenStatement' || token.type === 'OpenExpression') {
      return [piece('OpenExpression', '{{'), ...call, piece('CloseExpression', '}}'), token]
    }
    if (token.type === 'Identifier' && token.value === 'elif' && tokens[i - 1]?.type === 'OpenStatement') {
      inElif = true
      return [token, ...call, piece('Identifier', 'or'), piece('OpenParen', '(')]
    }
    if (token.type === 'CloseStatement' && inElif) {
      inElif = false
      return [piece('CloseParen', ')'), token]
    }
    const isClock = token.type === 'Identifier' && token.value === 'strftime_now'
    return [isClock ? piece('Identifier', clockName) : token]
  })
}

function piece(type: Token['type'], value: string): Token {
  return { type, value }
}

function failure(where: string, line: number, error: unknown): Error {
  const reason = (error instanceof Error ? error.message : String(error)).replace(/^Parser Error: /, '')
  return new Error(`${where}${line > 0 ? `:${line}` : ''}: ${reason.split('\n')[0]}`, { cause: error })
}
