/** Pieces of HTML that the sections of a report share. */

import { styles } from './styles.ts'
import { escapeText } from './svg.ts'

/** A whole page that asks nobody for anything, well-formed as XML too; empty sections are left out. */
export function page(title: string, sections: readonly string[]): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>${escapeText(title)}</title>
<style>${styles}</style>
</head>
<body>
<main>
${sections.filter((section) => section !== '').join('\n')}
</main>
</body>
</html>
`
}

/** A section with a heading and, unless it is empty, an explanation that may hold markup. */
export function section(title: string, explanation: string, content: string): string {
  const words = explanation === '' ? '' : `\n<p class="soft">${explanation}</p>`
  return `<section>\n<h2>${escapeText(title)}</h2>${words}\n${content}\n</section>`
}

/** A chart under its caption; the chosen one stands out. */
export function figure(caption: string, chart: string, chosen = false): string {
  return `<figure${chosen ? ' class="chosen"' : ''}><figcaption>${escapeText(caption)}</figcaption>${chart}</figure>`
}

/** The scale of a heat map, from 0 to `most`. */
export function key(most: string): string {
  return `<span class="key">0<span></span>${most}</span>`
}

/** Figures side by side where the page is wide enough. */
export function wide(figures: readonly string[]): string {
  return `<div class="wide">${figures.join('')}</div>`
}
