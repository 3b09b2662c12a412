/** Tokens drawn for a terminal, so that a person sees where each begins and which of them are learned. */

/** A token as text. */
export interface ShownToken {
  readonly text: string
  /** Whether it is learned, rather than only read. */
  readonly learned: boolean
}

/** How tokens are drawn. */
export interface TokenViewOptions {
  /** Characters in a line. */
  readonly columns: number
  /**
   * Learned tokens are green and the others plain, both in turn bright and dim. Without colours each learned token stands
   * in brackets, and dots are between the others.
   */
  readonly colours: boolean
}

/** The lines of a text of tokens. Line feeds are `↵` and begin a new line; what would steer a terminal is written as its number. */
export function tokenLines(tokens: readonly ShownToken[], { columns, colours }: TokenViewOptions): string[] {
  const lines = ['']
  let used = 0
  const put = (shown: string, drawn: string, width: number) => {
    if (used > 0 && used + width > columns) {
      lines.push('')
      used = 0
    }
    lines[lines.length - 1] += drawn
    used += width
    if (shown.endsWith('↵')) {
      lines.push('')
      used = 0
    }
  }
  tokens.forEach(({ text, learned }, i) => {
    const shown = visible(text)
    const dot = !colours && !learned && used > 0 && tokens[i - 1]?.learned === false ? '·' : ''
    const framed = !colours && learned ? `[${shown}]` : dot + shown
    for (const part of pieces(framed, columns)) put(shown, colours ? coloured(part, learned, i) : part, widthOf(part))
  })
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines
}

function coloured(text: string, learned: boolean, i: number): string {
  const colour = learned ? '\x1b[32m' : '\x1b[39m'
  return `${i % 2 === 0 ? '\x1b[1m' : '\x1b[2m'}${colour}${text}\x1b[0m`
}

/** A text without what moves the cursor or turns the direction of writing. */
function visible(text: string): string {
  return text
    .replaceAll('\n', '↵')
    .replaceAll('\t', '→')
    .replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, (mark) => {
      return `<${mark.charCodeAt(0).toString(16).padStart(4, '0')}>`
    })
}

/** A text in parts that fit into a line. */
function pieces(text: string, columns: number): string[] {
  if (widthOf(text) <= columns) return [text]
  const found: string[] = []
  let [part, used] = ['', 0]
  for (const character of text) {
    const width = widthOf(character)
    if (part !== '' && used + width > columns) {
      found.push(part)
      ;[part, used] = ['', 0]
    }
    part += character
    used += width
  }
  return [...found, part]
}

/** Columns that a text takes: marks on letters none, East Asian letters and emoji two (Unicode annex 11, without its exceptions). */
function widthOf(text: string): number {
  let width = 0
  for (const character of text) {
    if (/[\p{M}\u200d]/u.test(character)) continue
    width += /[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}\p{Emoji_Presentation}\uff01-\uff60]/u.test(character)
      ? 2
      : 1
  }
  return width
}
