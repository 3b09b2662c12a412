/** What a command is: a record of its name, help, arguments and options, and a body that is loaded when it is run. */

import type { Job } from '../base/progress.ts'
import type { OptionTable, Values } from './options.ts'
import { flag, option, withDefault } from './options.ts'
import { integer } from './readers.ts'

/** One command of `hedgehog`; build it with {@link command}, which checks the body against the options. */
export interface Command<O extends OptionTable = OptionTable, A extends string = string, L extends string = never> {
  readonly name: string
  /** One line, without a full stop. */
  readonly summary: string
  /** Whole command lines, without `hedgehog `, each for a reason that a reader can see. */
  readonly examples: readonly string[]
  /** Positional arguments in order, all required: name -> summary. */
  readonly arguments: Readonly<Record<A, string>>
  /** One after them that may be left out. */
  readonly last?: Readonly<Record<L, string>>
  /** The command's own options; {@link commonOptions} are added to each. */
  readonly options: O
  /** The module of the body, imported only when the command runs, so that help stays quick. */
  load(): Promise<Body<O, NoInfer<A>, NoInfer<L>>>
}

/** A module with the body of a command. */
export interface Body<O extends OptionTable = OptionTable, A extends string = string, L extends string = never> {
  run(
    context: Context,
    args: Readonly<Record<A, string> & Partial<Record<L, string>>>,
    options: Values<O>,
  ): Promise<Outcome>
}

/** The type of a body's `run`: `export const run: Run<typeof convertOptions, 'model'> = async (context, args, options) => …`. */
export type Run<O extends OptionTable, A extends string = never, L extends string = never> = Body<O, A, L>['run']

/** What a command ends with: `value` is the last line under `--json`, `text` is printed otherwise (`''` for nothing). */
export interface Outcome {
  readonly value: unknown
  readonly text: string
}

/** Lines that a person types, or that are piped in. */
export interface Lines {
  /** Whether a person sits there. */
  readonly terminal: boolean
  /** The next line, undefined at the end of the input or when the signal is aborted. */
  ask(prompt: string, signal: AbortSignal): Promise<string | undefined>
  close(): void
}

/** What the command line hands to a command's body. */
export interface Context {
  readonly seed: number
  readonly json: boolean
  readonly quiet: boolean
  readonly debug: boolean
  /** Aborted by the first Ctrl-C; a job looks at it between steps, saves, and throws {@link Interrupted}. */
  readonly signal: AbortSignal
  /** The command line as it was typed, from `hedgehog` on, quoted for a shell: for reports. */
  readonly commandLine: string
  /** Width of the terminal in characters, 80 where there is none. */
  readonly columns: number
  /** Whether stdout takes colours. */
  readonly colours: boolean
  /** Runs a job to its end, drawing its progress, and returns its result. */
  run<T>(job: Job<T>): Promise<T>
  /** Lines from stdin, opened by the first call; the command line closes them. */
  lines(): Promise<Lines>
  /**
   * Runs a part of the work that Ctrl-C ends and not the command: the part is given a signal of its own.
   */
  part<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>
  /** Shows a line to the person who watches, on stderr and above the progress. */
  say(line: string): void
  /** Writes text to stdout at once, e.g. generated tokens; does nothing under `--json`. */
  write(text: string): void
}

/** The options that every command takes. */
export const commonOptions = {
  json: flag('print progress as JSON lines, and the result as the last line'),
  quiet: flag('print no progress'),
  debug: flag('print the stack of an error'),
  seed: withDefault(option('N', integer(0, 0xffffffff), 'the seed of everything random'), 0),
}

/** An entry of the table of commands; `load` must return a body that takes these options and arguments. */
export function command<O extends OptionTable, A extends string = never, L extends string = never>(
  entry: Command<O, A, L>,
): Command {
  return entry
}
