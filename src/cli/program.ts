/** Runs a command line against a table of commands: parsing, help, progress, errors in one line, exit codes. */

import { Command as CommanderCommand, CommanderError, Option as CommanderOption } from 'commander'
import { Interrupted, UsageError } from '../base/errors.ts'
import { capital } from '../base/format.ts'
import type { Job } from '../base/progress.ts'
import type { Command, Context, Lines, Outcome } from './command.ts'
import { commonOptions } from './command.ts'
import type { SignalSource } from './interrupt.ts'
import { interruptedExitCode, listenForInterrupt } from './interrupt.ts'
import type { Option, OptionTable, Values } from './options.ts'
import { flagOf, readOption } from './options.ts'
import type { ProgressView } from './progress.ts'
import { jsonProgress, liveProgress, plainProgress, quietProgress } from './progress.ts'
import type { LineSource } from './terminal.ts'

/** A stream of text, such as `process.stdout`. */
export interface Sink {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
}

/** Everything outside the command line that it uses; tests bring their own. */
export interface Surroundings {
  readonly out: Sink
  readonly err: Sink
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signals: SignalSource
  /** Where lines are read from, for commands that ask. */
  readonly lines?: LineSource
  readonly version: string
  /** Seconds on a steady clock. */
  now(): number
  /** Bytes of resident memory. */
  memory(): number
  exit(code: number): void
}

/**
 * Runs one command line and returns its exit code: 0, 2 for wrong usage, 130 when interrupted, else 1.
 * @param argv - the words after `hedgehog`
 */
export async function runCommandLine(
  argv: readonly string[],
  commands: readonly Command[],
  around: Surroundings,
): Promise<number> {
  const program = programOf(argv, commands, around)
  try {
    if (argv.length === 0) program.outputHelp()
    else await program.parseAsync([...argv], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    around.err.write(`hedgehog: ${messageOf(error)}\n`)
    if (argv.includes('--debug') && error instanceof Error) around.err.write(`${error.stack}\n`)
    return exitCodeOf(error)
  }
}

function programOf(argv: readonly string[], commands: readonly Command[], around: Surroundings): CommanderCommand {
  const program = new CommanderCommand('hedgehog')
    .description('Turn Transformers into linear-attention models, train them, and run them.')
    .version(around.version, '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print the help of a command')
    .configureHelp({ styleTitle: (title) => (hasColours(around) ? `\x1b[1m${title}\x1b[22m` : title) })
    .configureOutput({
      writeOut: (text) => around.out.write(text),
      writeErr: () => {},
      getOutHelpWidth: () => Math.min(100, around.out.columns ?? 80),
      getOutHasColors: () => hasColours(around),
    })
    .exitOverride()
  for (const entry of commands) {
    const [group, word] = entry.name.split(' ') as [string, string | undefined]
    if (word === undefined) addCommand(program, group, entry, argv, around)
    else addCommand(groupOf(program, group, commands), word, entry, argv, around)
  }
  return program
}

/** The command that gathers those whose names begin with the same word, e.g. `experiment list` and `experiment run`. */
function groupOf(program: CommanderCommand, name: string, commands: readonly Command[]): CommanderCommand {
  const known = program.commands.find((command) => command.name() === name)
  if (known) return known
  const members = commands.filter((command) => command.name.startsWith(`${name} `))
  const words = members.map((command) => command.name.slice(name.length + 1))
  return program
    .command(name)
    .description(`${capital(words.join(', '))}: see ${name} ${words[0]} --help and so on.`)
    .summary(members.map(({ summary }) => summary).join('; '))
}

function addCommand(
  program: CommanderCommand,
  word: string,
  entry: Command,
  argv: readonly string[],
  around: Surroundings,
): void {
  const names = Object.keys({ ...entry.arguments, ...entry.last })
  const added = program
    .command(word)
    .description(`${capital(entry.summary)}.`)
    .summary(entry.summary)
  for (const [name, summary] of Object.entries(entry.arguments)) added.argument(`<${name.toUpperCase()}>`, summary)
  for (const [name, summary] of Object.entries<string>(entry.last ?? {}))
    added.argument(`[${name.toUpperCase()}]`, summary)
  for (const [name, option] of Object.entries(entry.options)) added.addOption(optionOf(name, option))
  for (const [name, option] of Object.entries(commonOptions)) added.addOption(optionOf(name, option))
  const examples = entry.examples.map((example) => `  hedgehog ${example}`)
  if (examples.length > 0) added.addHelpText('after', ['', 'Examples:', ...examples].join('\n'))
  added.action(async () => {
    const args = Object.fromEntries(
      names.flatMap((name, i) => (added.args[i] === undefined ? [] : [[name, added.args[i]]])),
    )
    await runCommand(entry, args, added.opts(), argv, around)
  })
}

function optionOf(name: string, option: Option): CommanderOption {
  const value = option.value === undefined ? '' : ` <${option.value}${option.many ? '...' : ''}>`
  const made = new CommanderOption(`${flagOf(name)}${value}`, option.summary)
  if (option.value !== undefined) {
    made.argParser((text: string, previous: unknown) => readOption(name, option, text, previous))
    if (option.initial !== undefined) made.default(option.initial)
  }
  return made
}

async function runCommand(
  entry: Command,
  args: Readonly<Record<string, string>>,
  given: Readonly<Record<string, unknown>>,
  argv: readonly string[],
  around: Surroundings,
): Promise<void> {
  checkRequired(entry, given)
  const common = pick(given, commonOptions)
  const view = viewOf(common, around)
  const interrupt = listenForInterrupt(around.signals, (line) => view.say(line), around.exit)
  const write = (text: string) => {
    if (!common.json) around.out.write(text)
  }
  let lines: Lines | undefined
  const context: Context = {
    ...common,
    signal: interrupt.signal,
    commandLine: ['hedgehog', ...argv].map(quoted).join(' '),
    columns: around.out.columns ?? 80,
    colours: hasColours(around),
    run: (job) => runJob(job, view),
    say: (line) => view.say(line),
    write,
    part: interrupt.part,
    async lines() {
      if (!around.lines) throw new UsageError(`${entry.name}: there is no input to read from`)
      // Loaded only when it is asked for, so that help stays quick.
      const { openLines } = await import('./terminal.ts')
      lines ??= openLines(around.lines, write, interrupt.press)
      return lines
    },
  }
  try {
    const body = await entry.load()
    const outcome = await body.run(context, args, pick(given, entry.options))
    view.end()
    print(outcome, common.json, around.out)
  } finally {
    lines?.close()
    view.end()
    interrupt.release()
  }
}

/** Lets the event loop turn after each record: a job that computes without waiting would else never see Ctrl-C. */
async function runJob<T>(job: Job<T>, view: ProgressView): Promise<T> {
  for (;;) {
    const next = await job.next()
    if (next.done) return next.value
    view.see(next.value)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Commander would check this before it looks for unknown options, and so blame `--dta x` on a missing `--data`. */
function checkRequired(entry: Command, given: Readonly<Record<string, unknown>>): void {
  for (const [name, { required, value, summary }] of Object.entries(entry.options)) {
    if (required && given[name] === undefined) {
      throw new UsageError(`${entry.name}: ${flagOf(name)} is missing, want ${flagOf(name)} ${value}: ${summary}`)
    }
  }
}

/** The values of the options in the table; a flag that was not given is false. */
function pick<O extends OptionTable>(given: Readonly<Record<string, unknown>>, table: O): Values<O> {
  const values = Object.entries(table).map(([name, option]) => [name, given[name] ?? option.initial] as const)
  return Object.fromEntries(values.filter(([, value]) => value !== undefined)) as Values<O>
}

function viewOf({ json, quiet }: { json: boolean; quiet: boolean }, around: Surroundings): ProgressView {
  const { out, err, now, memory } = around
  const target = { write: (text: string) => err.write(text), columns: err.columns ?? 80, now, memory }
  if (json) return jsonProgress(target, (text) => out.write(text))
  if (quiet) return quietProgress(target)
  return err.isTTY ? liveProgress(target) : plainProgress(target)
}

function print({ value, text }: Outcome, json: boolean, out: Sink): void {
  if (json) out.write(`${JSON.stringify(value)}\n`)
  else if (text !== '') out.write(text.endsWith('\n') ? text : `${text}\n`)
}

/** One line for people; commander's own messages lose their prefix and their second line. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof CommanderError)) return message.replaceAll(/\s*\n\s*/g, ' ')
  return message.replace(/^error: /, '').replace(/\n\(Did you mean (.*)\?\)/s, '; did you mean $1?')
}

function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return interruptedExitCode
  return error instanceof UsageError || error instanceof CommanderError ? 2 : 1
}

function hasColours({ out, env }: Surroundings): boolean {
  return out.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
