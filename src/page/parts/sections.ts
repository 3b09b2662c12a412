/** A report's sections in the page, one a frame, so that the page answers while a long one is drawn. */

import { drawn, fill } from '../dom.ts'

/**
 * Puts sections of a report's markup in place of what was there; their headings go one level down, below that of the view.
 * @param isWanted whether it still is to be drawn, asked before each section.
 */
export async function drawSections(
  place: Element,
  sections: readonly string[],
  isWanted: () => boolean = () => true,
): Promise<void> {
  fill(place)
  for (const markup of sections) {
    if (!isWanted()) return
    place.append(drawn(lowered(markup)))
    await nextFrame()
  }
}

/** The texts of a report are escaped, so these are tags. */
function lowered(markup: string): string {
  return markup.replace(/<(\/?)h([1-3])>/g, (_, end: string, level: string) => `<${end}h${Number(level) + 1}>`)
}

function nextFrame(): Promise<void> {
  return new Promise((resolve) => requestAnimationFrame(() => resolve()))
}
