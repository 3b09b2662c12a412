/** Pieces of HTML that the sections of a report share. */

import { escapeText } from './svg.ts'

/** A section with a heading and, unless it is empty, an explanation that may hold markup. */
export function section(title: string, explanation: string, content: string): string {
  const words = explanation === '' ? '' : `\n<p class="soft">${explanation}</p>`
  return `<section>\n<h2>${escapeText(title)}</h2>${words}\n${content}\n</section>`
}

/** A chart under its caption. */
export function figure(caption: string, chart: string): string {
  return `<figure><figcaption>${escapeText(caption)}</figcaption>${chart}</figure>`
}

/** The scale of a heat map, from 0 to `most`. */
export function key(most: string): string {
  return `<span class="key">0<span></span>${most}</span>`
}

/** Figures side by side where the page is wide enough. */
export function wide(figures: readonly string[]): string {
  return `<div class="wide">${figures.join('')}</div>`
}

/** The text with its first letter large. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
