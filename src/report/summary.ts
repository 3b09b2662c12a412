/** What a report comes to: the gap to the teacher, how much of it was closed, and both in words. */

import { capital } from '../base/format.ts'
import type { Report, Row } from './types.ts'

/** The row of that name, where the report has one. */
export function rowOf(report: Pick<Report, 'rows'>, name: string): Row | undefined {
  return report.rows.find((row) => row.name === name)
}

/** What is compared in a report. */
type Scores = Pick<Report, 'rows' | 'converted'>

/** The row of the model that was written. */
export function studentOf(report: Scores): Row | undefined {
  return rowOf(report, report.converted ?? 'hedgehog')
}

/** The teacher to compare with: finetuned on the same text where there is one. */
export function teacherOf(report: Pick<Report, 'rows'>): Row | undefined {
  return rowOf(report, 'teacher-finetuned') ?? rowOf(report, 'teacher')
}

/** How much higher the converted model's perplexity is than the teacher's, as a share of the teacher's: 0.05 for 5 %. */
export function gap(report: Scores): number | undefined {
  const teacher = teacherOf(report)?.perplexity
  const student = studentOf(report)?.perplexity
  return teacher === undefined || student === undefined ? undefined : finite((student - teacher) / teacher)
}

/** The share of the gap in perplexity from the row `from` down to the teacher that the converted model closes: 1 for all of it. */
export function gapClosed(report: Scores, from = 'untrained'): number | undefined {
  const teacher = teacherOf(report)?.perplexity
  const student = studentOf(report)?.perplexity
  const start = rowOf(report, from)?.perplexity
  if (teacher === undefined || student === undefined || start === undefined || !(start > teacher)) return undefined
  return finite((start - student) / (start - teacher))
}

/** The result in one to three sentences. */
export function headline(report: Scores): string {
  const student = studentOf(report)
  const teacher = teacherOf(report)
  if (!student || !teacher) {
    return `This report has no row for ${report.converted ?? 'hedgehog'} beside one for its teacher.`
  }
  const who = teacher.name === 'teacher-finetuned' ? 'the finetuned teacher' : 'the teacher'
  const sentences = [
    `${capital(student.name)} reaches a perplexity of ${decimals(student.perplexity, 2)}, ${who} ${decimals(teacher.perplexity, 2)}${gapInWords(gap(report))}.`,
  ]
  const closed = gapClosed(report)
  if (closed !== undefined) {
    const start = decimals(rowOf(report, 'untrained')?.perplexity, 2)
    sentences.push(`Training closes ${percent(closed)} of the gap that the untrained maps leave (${start}).`)
  }
  return sentences.join(' ')
}

/** A number with this many decimals, fewer where it is large; `–` for none. */
export function decimals(value: number | null | undefined, digits: number): string {
  if (value === undefined || value === null || Number.isNaN(value)) return '–'
  if (!Number.isFinite(value)) return value < 0 ? '−∞' : '∞'
  if (Math.abs(value) >= 1e6) return value.toExponential(1)
  return minus(value.toFixed(Math.abs(value) >= 1000 ? 0 : digits))
}

/** A share as `9.5 %`; `–` for none. */
export function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${decimals(share * 100, 1)} %`
}

function gapInWords(share: number | undefined): string {
  if (share === undefined) return ''
  return share < 0 && percent(share) !== percent(0) ? `: ${percent(-share)} lower` : `: a gap of ${percent(share)}`
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined
}

function minus(text: string): string {
  return /^-0(\.0*)?$/.test(text) ? text.slice(1) : text.replace('-', '−')
}
