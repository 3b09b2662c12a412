/**
 * A reader of pickles that runs nothing. A pickle is a program for a stack machine; this one knows numbers, text, lists,
 * dictionaries, and a table of names that its caller allows. Source: the opcodes of Python's `pickletools`.
 */

import { type Cursor, cursor } from './cursor.ts'

/** What a pickle can hold here: tuples are lists, dictionaries of any kind are maps. */
export type Pickled =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Pickled[]
  | ReadonlyMap<Pickled, Pickled>
  | PickledObject

/** A value that only the caller makes, e.g. a tensor. */
export interface PickledObject {
  readonly kind: string
}

/** Something that a pickle may call. @throws Error with what is wrong with the arguments. */
export interface PickledFunction extends PickledObject {
  readonly kind: 'function'
  call(args: readonly Pickled[]): Pickled
}

/** What a pickle is read with. */
export interface PickleOptions {
  /** What it may ask for by name, e.g. `collections.OrderedDict`. */
  readonly names: Readonly<Record<string, PickledObject>>
  /** The value of a persistent id, which stands for data outside of the pickle. @throws Error with what is wrong. */
  persistent(id: Pickled): Pickled
}

/**
 * The value of a pickle. Nothing is made but what its bytes spell out, so memory is bounded by their number.
 * @param where for messages: the file
 * @throws Error naming the place and the opcode or name that is not allowed, or what is damaged.
 */
export function readPickle(where: string, bytes: Uint8Array, options: PickleOptions): Pickled {
  const machine = newMachine(where, bytes, options)
  for (;;) {
    machine.step = machine.input.at
    const code = machine.input.uint8()
    if (code === stop) return machine.pop()
    const opcode = opcodes[code]
    if (!opcode) machine.fail(`uses the opcode ${refused[code] ?? `0x${code.toString(16)}`}, which is not read`)
    else opcode(machine)
  }
}

/** A stack, the values put aside, and the bytes to go. */
interface Machine {
  readonly input: Cursor
  readonly options: PickleOptions
  readonly memo: Map<number, Pickled>
  /** Where the opcode in work begins. */
  step: number
  push(value: Pickled): void
  pop(): Pickled
  top(): Pickled
  mark(): void
  /** All values from the last mark on. */
  popMarked(): Pickled[]
  /** Counts what is made of few bytes and takes many. */
  spend(cost: number): void
  fail(what: string): never
}

function newMachine(where: string, bytes: Uint8Array, options: PickleOptions): Machine {
  const stack: Pickled[] = []
  const marks: number[] = []
  let budget = mostCost
  const machine: Machine = {
    input: cursor(where, bytes),
    options,
    memo: new Map(),
    step: 0,
    push: (value) => void stack.push(value),
    pop: () => (stack.length > (marks.at(-1) ?? 0) ? stack.pop()! : machine.fail('takes from an empty stack')),
    top: () => (stack.length > 0 ? stack.at(-1)! : machine.fail('looks at an empty stack')),
    mark: () => void marks.push(stack.length),
    popMarked: () => stack.splice(marks.pop() ?? machine.fail('wants a mark')),
    spend: (cost) => {
      budget -= cost
      if (budget < 0) machine.fail('makes more values than any checkpoint has')
    },
    fail: (what) => {
      throw new Error(`${where}: at byte ${machine.step}: the pickle ${what}`)
    },
  }
  return machine
}

type Opcode = (machine: Machine) => void

const stop = 0x2e

/** Lists and what is put aside cost 1, dictionaries as much as they take more. */
const mostCost = 2 ** 22
const mapCost = 8

const value =
  (made: (input: Cursor) => Pickled): Opcode =>
  (machine) =>
    machine.push(made(machine.input))

const newList: Opcode = (machine) => {
  machine.spend(1)
  machine.push([])
}

const tuple =
  (size: number): Opcode =>
  (machine) => {
    machine.spend(1)
    const items = Array.from({ length: size }, machine.pop)
    machine.push(items.reverse())
  }

const recall =
  (index: (input: Cursor) => number): Opcode =>
  (machine) => {
    const found = machine.memo.get(index(machine.input))
    machine.push(found === undefined ? machine.fail('recalls what it did not put aside') : found)
  }

const putAside =
  (index: (machine: Machine) => number): Opcode =>
  (machine) => {
    machine.spend(1)
    machine.memo.set(index(machine), machine.top())
  }

/** The opcodes that are read, by byte: those that pickles of protocol 2 to 5 with plain values and calls consist of. */
const opcodes: Readonly<Record<number, Opcode>> = {
  // 128 PROTO, 149 FRAME: nothing depends on them.
  128: ({ input }) => void input.uint8(),
  149: ({ input }) => void input.uint64(),
  // N, true, false; J K M LONG1 LONG4 integers; G float64.
  78: value(() => null),
  136: value(() => true),
  137: value(() => false),
  74: value((input) => input.int32()),
  75: value((input) => input.uint8()),
  77: value((input) => input.uint16()),
  138: (machine) => machine.push(integer(machine, machine.input.uint8())),
  139: (machine) => machine.push(integer(machine, machine.input.uint32())),
  71: value((input) => {
    const bytes = Uint8Array.from(input.bytes(8))
    return new DataView(bytes.buffer).getFloat64(0)
  }),
  // X, SHORT_BINUNICODE, BINUNICODE8, T, U text; B, C, BINBYTES8 bytes.
  88: value((input) => input.text(input.uint32())),
  140: value((input) => input.text(input.uint8())),
  141: value((input) => input.text(input.uint64())),
  84: value((input) => input.text(input.uint32())),
  85: value((input) => input.text(input.uint8())),
  66: value((input) => input.bytes(input.uint32())),
  67: value((input) => input.bytes(input.uint8())),
  142: value((input) => input.bytes(input.uint64())),
  // Empty tuple, list and dictionary; tuples of one, two, three and all that is marked.
  41: newList,
  93: newList,
  125: (machine) => {
    machine.spend(mapCost)
    machine.push(new Map())
  },
  133: tuple(1),
  134: tuple(2),
  135: tuple(3),
  116: (machine) => {
    machine.spend(1)
    machine.push(machine.popMarked())
  },
  // Mark; a e append, s u set items; 0 1 2 pop, pop to the mark, duplicate.
  40: (machine) => machine.mark(),
  97: (machine) => append(machine, [machine.pop()]),
  101: (machine) => append(machine, machine.popMarked()),
  115: (machine) => setItems(machine, [machine.pop(), machine.pop()].reverse()),
  117: (machine) => setItems(machine, machine.popMarked()),
  48: (machine) => void machine.pop(),
  49: (machine) => void machine.popMarked(),
  50: (machine) => machine.push(machine.top()),
  // q r MEMOIZE put aside, h j recall.
  113: putAside(({ input }) => input.uint8()),
  114: putAside(({ input }) => input.uint32()),
  148: putAside(({ memo }) => memo.size),
  104: recall((input) => input.uint8()),
  106: recall((input) => input.uint32()),
  // c and STACK_GLOBAL ask for a name, R calls, b sets a state, Q refers to data outside.
  99: (machine) => machine.push(named(machine, line(machine), line(machine))),
  147: (machine) => {
    const [name, module] = [machine.pop(), machine.pop()]
    machine.push(named(machine, module, name))
  },
  82: (machine) => {
    const [args, callee] = [machine.pop(), machine.pop()]
    machine.push(called(machine, callee, args))
  },
  98: (machine) => {
    // A state dictionary carries its version numbers as attributes; no tensor depends on them.
    machine.pop()
    if (!(machine.top() instanceof Map)) machine.fail('sets the state of what is no dictionary')
  },
  81: (machine) => {
    const id = machine.pop()
    machine.push(guarded(machine, () => machine.options.persistent(id)))
  },
}

/** Names of opcodes that make objects of any class, for messages. */
const refused: Readonly<Record<number, string>> = {
  105: 'INST',
  111: 'OBJ',
  129: 'NEWOBJ',
  130: 'EXT1',
  131: 'EXT2',
  132: 'EXT4',
  146: 'NEWOBJ_EX',
}

function integer({ input, fail }: Machine, length: number): number {
  if (length > 8) fail(`has an integer of ${length} bytes, want at most 8`)
  let found = 0n
  for (const [i, byte] of input.bytes(length).entries()) found |= BigInt(byte) << BigInt(8 * i)
  return Number(BigInt.asIntN(8 * length, found))
}

function line({ input, fail }: Machine): string {
  const start = input.at
  for (let length = 0; length < 512; length++) {
    if (input.uint8() !== 10) continue
    input.at = start
    const text = input.text(length)
    input.at++
    return text
  }
  return fail('has a name without an end')
}

function append({ top, fail }: Machine, items: readonly Pickled[]): void {
  const list = top()
  if (!Array.isArray(list)) fail('appends to what is no list')
  else for (const item of items) list.push(item)
}

function setItems({ top, fail }: Machine, items: readonly Pickled[]): void {
  const map = top() as Map<Pickled, Pickled>
  if (!(map instanceof Map) || items.length % 2 !== 0) fail('sets what is no item of a dictionary')
  for (let i = 0; i < items.length; i += 2) {
    const key = items[i]!
    if (map.has(key)) fail(`has the key ${typeof key === 'string' ? printable(key) : typeof key} twice`)
    map.set(key, items[i + 1]!)
  }
}

function named({ options: { names }, fail }: Machine, module: Pickled, name: Pickled): Pickled {
  if (typeof module !== 'string' || typeof name !== 'string') return fail('asks for a name that is no text')
  const full = `${module}.${name}`
  if (Object.hasOwn(names, full)) return names[full]!
  return fail(`asks for ${printable(full)}; only tensors in plain containers are read, and nothing is run`)
}

function called(machine: Machine, callee: Pickled, args: Pickled): Pickled {
  if (!isFunction(callee)) return machine.fail('calls what is no function')
  if (!Array.isArray(args)) return machine.fail('calls without a list of arguments')
  machine.spend(mapCost)
  return guarded(machine, () => callee.call(args))
}

function isFunction(found: Pickled): found is PickledFunction {
  return typeof found === 'object' && found !== null && 'kind' in found && found.kind === 'function'
}

function guarded(machine: Machine, make: () => Pickled): Pickled {
  try {
    return make()
  } catch (error) {
    return machine.fail(`holds what is no tensor: ${(error as Error).message}`)
  }
}

/** Text of a file as a message can show it: of one line, and not long. */
export function printable(text: string): string {
  return text.slice(0, 120).replace(/[^\x20-\x7e]/g, '?')
}
