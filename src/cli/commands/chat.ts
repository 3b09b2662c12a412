/** The body of `hedgehog chat`: a conversation in the terminal, with commands that begin with a slash. */

import { random } from '../../base/random.ts'
import { type Answered, type Point, type Speaker, say, startConversation } from '../../generate/conversation.ts'
import { createGenerator } from '../../generate/state.ts'
import type { Message } from '../../io/chatTemplate.ts'
import type { Writing } from '../../models/writing.ts'
import { openDevice } from '../../node/device.ts'
import { openWriting } from '../../node/models.ts'
import type { Context, Lines, Run } from '../command.ts'
import type { Values } from '../options.ts'
import type { chatOptions } from '../optionTables.ts'
import { loadText, saveText } from '../stateFiles.ts'

/** Points that can be gone back to; each holds a state. */
const mostPoints = 32

/** A conversation in the terminal. */
interface Chat {
  readonly context: Context
  readonly writing: Writing
  readonly speaker: Speaker
  readonly settings: Omit<Values<typeof chatOptions>, 'device' | 'load' | 'system' | 'tokens'>
  readonly maxTokens: number
  /** The conversation after each message, the last being where it stands; the first has no message but the system's. */
  points: readonly Point[]
  /** Points with a name. */
  readonly forks: Map<string, readonly Point[]>
  /** Answers so far, so that each has draws of its own. */
  answers: number
  ended: boolean
}

export const run: Run<typeof chatOptions, 'model'> = async (context, { model: folder }, options) => {
  const { device, load, system, tokens, ...settings } = options
  const writing = await openWriting(folder, context)
  const generator = createGenerator(await openDevice(device), writing.model)
  const { tokenizer, template, endIds, templateStops } = writing
  const speaker: Speaker = {
    generator,
    encode: tokenizer.encode,
    decode: (ids) => tokenizer.decode(ids),
    template,
    endIds,
    stopTexts: templateStops,
  }
  const first = startConversation(generator, system === undefined ? [] : [{ role: 'system', content: system }])
  const chat: Chat = {
    context,
    writing,
    speaker,
    settings,
    maxTokens: tokens,
    points: [first],
    forks: new Map(),
    answers: 0,
    ended: false,
  }
  try {
    if (load !== undefined) await commands.load!.run(chat, load)
    await converse(chat, await context.lines())
    return { value: { messages: chat.points.at(-1)!.messages, seed: context.seed }, text: '' }
  } finally {
    await generator.dispose()
  }
}

async function converse(chat: Chat, lines: Lines): Promise<void> {
  const { context } = chat
  if (lines.terminal) context.write('/help lists the commands; """ begins and ends a message of several lines.\n')
  while (!chat.ended) {
    const said = await readMessage(lines, context.signal)
    if (said === undefined) break
    if (said.trim() === '') continue
    try {
      if (said.startsWith('/')) await runSlash(chat, said)
      else await answerTo(chat, said)
    } catch (error) {
      // A mistake of the person's, or a conversation that is full, ends neither the program nor the conversation.
      context.write(`${(error as Error).message}\n`)
      if (!(error instanceof Error)) throw error
    }
  }
  if (lines.terminal) context.write('\n')
}

/** One line, or several: after a backslash at the end of a line, or between two lines of `"""`. */
async function readMessage(lines: Lines, signal: AbortSignal): Promise<string | undefined> {
  const prompt = (text: string) => (lines.terminal ? text : '')
  const first = await lines.ask(prompt('> '), signal)
  if (first === undefined) return undefined
  const collected: string[] = []
  if (first.startsWith('"""')) {
    let line: string | undefined = first.slice(3)
    while (line !== undefined && !line.endsWith('"""')) {
      collected.push(line)
      line = await lines.ask(prompt('… '), signal)
    }
    return [...collected, line?.slice(0, -3) ?? ''].join('\n').trim()
  }
  let line: string | undefined = first
  while (line?.endsWith('\\')) {
    collected.push(line.slice(0, -1))
    line = await lines.ask(prompt('… '), signal)
  }
  return [...collected, line ?? ''].join('\n')
}

async function answerTo(chat: Chat, content: string): Promise<void> {
  const { context, speaker, settings, maxTokens } = chat
  const message: Message = { role: 'user', content }
  const draws = random(context.seed)
    .split('chat')
    .split(chat.answers++)
  const answered = await context.part((signal) =>
    speak(say(speaker, chat.points.at(-1)!, message, { ...settings, maxTokens, random: draws, signal }), context),
  )
  chat.points = [...chat.points, answered.point].slice(-mostPoints)
  if (answered.ending === 'length') context.write('\n(cut off; --tokens allows more)\n')
  else context.write(answered.ending === 'left' ? '\n(left here)\n' : '\n')
}

async function speak(run: ReturnType<typeof say>, context: Context): Promise<Answered> {
  let begun = false
  for (;;) {
    const next = await run.next()
    if (next.done) return next.value
    // The space that stands between a name and its words belongs to the template.
    const text: string = begun ? next.value.text : next.value.text.trimStart()
    begun ||= text !== ''
    context.write(text)
    // Lets Ctrl-C in between two tokens.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A command of the conversation. */
interface Slash {
  readonly argument?: string
  readonly summary: string
  run(chat: Chat, argument: string): void | Promise<void>
}

const commands: Readonly<Record<string, Slash>> = {
  help: {
    summary: 'list the commands',
    run({ context }) {
      const rows = Object.entries(commands).map(([name, { argument, summary }]) => [
        `/${name} ${argument ?? ''}`,
        summary,
      ])
      context.write(`${rows.map(([left, right]) => `${left!.padEnd(14)}${right}`).join('\n')}\n`)
    },
  },
  again: {
    summary: 'answer the last message anew',
    run: (chat) => answerTo(chat, takeBack(chat)),
  },
  edit: {
    argument: 'TEXT',
    summary: 'say the last message in another way',
    run(chat, text) {
      if (text === '') throw new Error('/edit: want the new text of the message')
      takeBack(chat)
      return answerTo(chat, text)
    },
  },
  undo: {
    summary: 'take the last message and its answer back',
    run: (chat) => void takeBack(chat),
  },
  fork: {
    argument: 'NAME',
    summary: 'give this point a name, to come back to with /back',
    run({ forks, points, context }, name) {
      if (name === '') throw new Error('/fork: want a name for this point')
      forks.set(name, points)
      context.write(`${name} is here: /back ${name}\n`)
    },
  },
  back: {
    argument: 'NAME',
    summary: 'go on from a point with a name',
    run(chat, name) {
      const found = chat.forks.get(name)
      const known = [...chat.forks.keys()].join(', ') || 'none; /fork NAME makes one'
      if (!found) throw new Error(`/back: got '${name}', want one of ${known}`)
      chat.points = found
    },
  },
  save: {
    argument: 'FILE',
    summary: 'save the conversation with its state',
    async run({ points, writing, context }, path) {
      if (path === '') throw new Error('/save: want a file')
      const { state, unread, text, messages } = points.at(-1)!
      await saveText(path, writing, { state, unread, note: { text, messages } })
      context.write(`saved in ${path}\n`)
    },
  },
  load: {
    argument: 'FILE',
    summary: 'go on from a saved conversation',
    async run(chat, path) {
      if (path === '') throw new Error('/load: want a file')
      const { state, unread, note } = await loadText(path, chat.writing, chat.speaker.generator)
      const { text, messages } = Object(note) as { readonly text?: unknown; readonly messages?: unknown }
      if (typeof text !== 'string' || !isMessages(messages)) throw new Error(`/load: ${path}: is no saved conversation`)
      chat.points = [{ messages, text, state, unread }]
      chat.context.write(`${messages.length} messages from ${path}\n`)
    },
  },
  reset: {
    summary: 'begin anew; points with a name stay',
    run(chat) {
      const system = chat.points.at(-1)!.messages.filter(({ role }, i) => i === 0 && role === 'system')
      chat.points = [startConversation(chat.speaker.generator, system)]
    },
  },
  quit: {
    summary: 'end; so does the end of the input',
    run(chat) {
      chat.ended = true
    },
  },
}

async function runSlash(chat: Chat, line: string): Promise<void> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(line)!
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new Error(`/${name}: is no command; /help lists them`)
  await command.run(chat, argument.trim())
}

/** Goes back before the last message, and returns what it said. */
function takeBack(chat: Chat): string {
  const { messages } = chat.points.at(-1)!
  if (chat.points.length < 2) throw new Error('there is no message to go back before, or it is too long ago')
  chat.points = chat.points.slice(0, -1)
  return String(messages.at(-2)!.content)
}

function isMessages(value: unknown): value is readonly Message[] {
  const isMessage = (one: unknown) => typeof Object(one).role === 'string' && typeof Object(one).content === 'string'
  return Array.isArray(value) && value.every(isMessage)
}
