/** The way a conversation is written for a model that has no chat template of its own. */

import type { ChatTemplate, Message } from './chatTemplate.ts'

const names: Readonly<Record<string, string>> = { system: 'System', user: 'User', assistant: 'Assistant' }

/** Texts that end an answer in a conversation that {@link plainTemplate} writes. */
export const plainStops: readonly string[] = ['\nUser:', '\nSystem:']

/** `User: …`, an empty line, `Assistant: …`. */
export const plainTemplate: Pick<ChatTemplate, 'render'> = {
  render(messages, { addGenerationPrompt = false } = {}) {
    const turns = messages.map((message) => `${nameOf(message)}: ${textOf(message)}\n\n`)
    return turns.join('') + (addGenerationPrompt ? 'Assistant:' : '')
  },
}

function nameOf({ role }: Message): string {
  const name = Object.hasOwn(names, role) ? names[role] : undefined
  if (name) return name
  throw new Error(`role: got ${JSON.stringify(role)}, want ${Object.keys(names).join(', ')}`)
}

function textOf({ content }: Message): string {
  if (typeof content === 'string') return content.trim()
  throw new TypeError(`content: got ${typeof content}, want a text`)
}
