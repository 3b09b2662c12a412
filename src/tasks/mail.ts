/** What a person reads of an e-mail: its subject and its text, out of MIME parts, encodings and HTML. */

/**
 * Subject and body of a message in internet form (RFC 5322, RFC 2045): one line per line, headers left out.
 * Of alternatives the plain text is taken, else HTML without its tags; attachments are left out.
 */
export function mailText(message: string): string {
  const lines = message.replace(/\r\n?/g, '\n').replace(/^From .*\n/, '')
  const part = partOf(lines)
  const subject = decodedWords(part.headers.get('subject') ?? '')
  return [subject, ...texts(part)].map(tidied).filter(Boolean).join('\n')
}

interface Part {
  /** Names in small letters; of a repeated one the first. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

function partOf(text: string): Part {
  const headers = new Map<string, string>()
  const end = /^\n|\n[ \t]*\n/.exec(text)
  const head = end ? text.slice(0, end.index) : text
  for (const line of head.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const [, name, value] = /^([!-9;-~]+)[ \t]*:[ \t]*(.*)$/.exec(line) ?? []
    const key = name?.toLowerCase()
    if (key && !headers.has(key)) headers.set(key, value!.trim())
  }
  return { headers, body: end ? text.slice(end.index + end[0].length) : '' }
}

const deepest = 8

/** The readable texts of a part and of the parts in it. */
function texts({ headers, body }: Part, depth = 0): string[] {
  const type = (headers.get('content-type') ?? 'text/plain').toLowerCase()
  if (/^attachment/i.test(headers.get('content-disposition') ?? '')) return []
  if (type.startsWith('multipart/')) {
    const parts = depth < deepest ? partsOf(headers.get('content-type')!, body) : []
    const found = parts.map((part) => texts(part, depth + 1))
    return type.startsWith('multipart/alternative') ? (found.find((all) => all.some(tidied)) ?? []) : found.flat()
  }
  if (type.startsWith('message/') && depth < deepest) return texts(partOf(body), depth + 1)
  if (!type.startsWith('text')) return []
  const text = decoded(body, headers.get('content-transfer-encoding') ?? '', type)
  return [type.startsWith('text/html') || /<html[\s>]/i.test(text) ? withoutTags(text) : text]
}

function partsOf(type: string, body: string): Part[] {
  const [, quoted, plain] = /boundary\s*=\s*(?:"([^"]*)"|([^\s;]+))/i.exec(type) ?? []
  const boundary = quoted ?? plain
  if (!boundary) return [{ headers: new Map(), body }]
  const pieces = `\n${body}`.split(`\n--${boundary}`).slice(1)
  const last = pieces.findIndex((piece) => piece.startsWith('--'))
  return pieces.slice(0, last < 0 ? undefined : last).map((piece) => partOf(piece.slice(piece.indexOf('\n') + 1)))
}

function decoded(body: string, encoding: string, type: string): string {
  const name = encoding.trim().toLowerCase()
  if (name === 'quoted-printable') return fromBytes(unquoted(body.replace(/=[ \t]*\n/g, '')), type)
  if (name === 'base64') return fromBytes(fromBase64(body), type)
  return body
}

/** Bytes as characters below 256; what is none of the encoding stays. */
function unquoted(text: string): string {
  return text.replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function fromBase64(text: string): string {
  const digits = text.replace(/[^A-Za-z0-9+/]/g, '')
  return atob(digits.slice(0, digits.length - (digits.length % 4 === 1 ? 1 : 0)))
}

function fromBytes(characters: string, type: string): string {
  // Characters from 256 on stood there unencoded, so the text is no sequence of bytes.
  if (/[^\0-\xff]/.test(characters)) return characters
  const bytes = Uint8Array.from(characters, (character) => character.charCodeAt(0))
  const charset = /charset\s*=\s*"?([^\s";]+)/i.exec(type)?.[1] ?? 'windows-1252'
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

/** Encoded words of a header, `=?utf-8?Q?…?=` (RFC 2047). */
function decodedWords(header: string): string {
  return header
    .replace(/(\?=)\s+(?==\?)/g, '$1')
    .replace(/=\?([^?\s]+)\?([QB])\?([^?]*)\?=/gi, (_, charset: string, kind: string, text: string) =>
      fromBytes(/b/i.test(kind) ? fromBase64(text) : unquoted(text.replaceAll('_', ' ')), `charset=${charset}`),
    )
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }

function withoutTags(html: string): string {
  return html
    .replace(/<!--[\s\S]*?(?:-->|$)/g, ' ')
    .replace(/<(style|script|title)\b[\s\S]*?(?:<\/\1\s*>|$)/gi, ' ')
    .replace(/\s+/g, ' ')
    .replace(/<(?:br|\/?p|\/?div|\/?tr|\/?table|\/?h\d|li)\b[^>]*>/gi, '\n')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(?:#(\d+)|#x([0-9a-f]+)|([a-z]+));?/gi, (all, decimal?: string, hex?: string, name?: string) => {
      const code = decimal ? Number(decimal) : hex ? Number.parseInt(hex, 16) : undefined
      if (code === undefined) return entities[name!.toLowerCase()] ?? all
      return code > 0 && code < 0x110000 ? String.fromCodePoint(code) : ' '
    })
}

/** Lines without spaces at their ends or several in a row, and no empty lines. */
function tidied(text: string): string {
  return text
    .replace(/[^\S\n]+/g, ' ')
    .replace(/ ?\n\s*/g, '\n')
    .trim()
}

/**
 * The words of a text in small letters, by which copies of a mail are known to be one: all numbers are the same word and
 * addresses none, since mass mailings number and address each copy.
 */
export function mailKey(text: string): string {
  return text
    .toLowerCase()
    .replace(/\S+@\S+|https?:\S+/g, '')
    .replace(/\d+/g, '0')
    .replace(/[^\p{L}0]+/gu, ' ')
    .trim()
}
