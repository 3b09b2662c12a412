/** The commands as a person meets them: a whole story, wrong input of every kind, Ctrl-C, and a full disk. */

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { renameSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { floats, type Params } from '../../src/base/array.ts'
import { random } from '../../src/base/random.ts'
import { openSafetensors, writeSafetensors } from '../../src/io/safetensors.ts'
import { loadModel } from '../../src/models/folder.ts'
import { folderSink, folderSource } from '../../src/node/files.ts'
import { hedgehog } from './hedgehog.ts'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
let folder = ''
const at = (...parts: readonly string[]) => join(folder, ...parts)

async function succeeds(argv: readonly string[]) {
  const found = await hedgehog(argv)
  assert.equal(found.code, 0, found.err)
  return found
}

/** One clear line, no stack, the exit code. */
async function fails(argv: readonly string[], code: number, message: RegExp): Promise<void> {
  const found = await hedgehog(argv)
  assert.match(found.err, message)
  assert.match(found.err, /^hedgehog: [^\n]{10,}\n$/)
  assert.doesNotMatch(found.err, /\n {4}at |undefined|\[object|Cannot read/)
  assert.equal(found.code, code)
  assert.equal(found.out, '')
}

/** The files of a folder and what they hold; none where there is no folder. */
async function contents(path: string): Promise<Record<string, string>> {
  const names = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const texts = files.map(async (file) => [file.slice(path.length + 1), await readFile(file, 'latin1')] as const)
  return Object.fromEntries(await Promise.all(texts))
}

const weights = async (path: string) => await readFile(join(path, 'model.safetensors'), 'latin1')

const tiny = '--layers 1 --width 8 --heads 2 --length 16 --vocab 270 --batch 2 --lr 0.01'.split(' ')
const small = '--length 8 --batch 2 --distill-steps 3 --finetune-steps 2 --compare elu'.split(' ')

const trainInto = (out: string, ...more: readonly string[]) => [
  ...['train', '--data', at('text.txt'), '--out', at(out), ...tiny, '--steps', '6', ...more],
]
const convertInto = (out: string, ...more: readonly string[]) => [
  ...['convert', at('model'), '--data', at('text.txt'), '--out', at(out), ...small, ...more],
]

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hedgehog-jobs-'))
  const rng = random(1)
  const words = 'the old house stands near a quiet river and its door is green'.split(' ')
  const line = () => Array.from({ length: 9 }, () => words[rng.integer(words.length)]).join(' ')
  await writeFile(at('text.txt'), `${Array.from({ length: 60 }, line).join('\n')}\n`)
  await succeeds(trainInto('model', '--validation', at('text.txt')))
})
after(() => rm(folder, { recursive: true, force: true }))

test('train, eval, convert and generate work one after the other, and leave nothing but results', async () => {
  const result = ['config.json', 'model.safetensors', 'tokenizer.json']
  assert.deepEqual(Object.keys(await contents(at('model'))).sort(), [...result, 'training.json'])
  const training = JSON.parse(await readFile(at('model/training.json'), 'utf8'))
  assert.deepEqual([training.steps, training.curve.length], [6, 6])
  assert.ok(Number.isFinite(training.validationLoss))
  const score = async (model: string) =>
    JSON.parse((await succeeds(['eval', at(model), '--data', at('text.txt'), '--json'])).last)
  const before = await score('model')
  assert.ok(Math.abs(before.loss - training.validationLoss) < 1e-4, 'train and eval measure the same')
  const { last, out } = await succeeds(convertInto('story', '--json'))
  const report = JSON.parse(last)
  assert.deepEqual(Object.keys(await contents(at('story'))).sort(), [
    ...['config.json', 'model.safetensors', 'report.html', 'report.json', 'tokenizer.json'],
  ])
  assert.deepEqual(
    report.rows.map(({ name }: { name: string }) => name),
    ['teacher', 'teacher-finetuned', 'untrained', 'hedgehog-distilled', 'hedgehog', 'elu-untrained', 'elu'],
  )
  for (const record of out.trimEnd().split('\n')) JSON.parse(record)
  assert.ok((await score('story')).perplexity > 1)
  const { out: written } = await succeeds(['generate', at('story'), '--prompt', 'the', '--tokens', '4'])
  assert.match(written, /^the/)
})

describe('wrong usage ends with 2 and one line', () => {
  const cases: readonly [string, () => readonly string[], RegExp][] = [
    ['an unknown command', () => ['convrt', 'x'], /unknown command 'convrt'; did you mean convert/],
    ['an unknown option', () => trainInto('no', '--stepz', '3'), /unknown option '--stepz'/],
    ['an option that is gone', () => trainInto('no', '--precision', 'float32'), /unknown option '--precision'/],
    ['an unknown map', () => convertInto('no', '--map', 'nope'), /--map: .*nope, want one of hedgehog, /],
    ['an unknown map to compare', () => convertInto('no', '--compare', 'elu,nope'), /--compare: .*nope/],
    [
      'a width that heads do not divide',
      () => trainInto('no', '--width', '9'),
      /--width: got 9, want a multiple of --heads 2/,
    ],
    [
      'a length past the model: convert',
      () => convertInto('no', '--length', '17'),
      /--length: got 17, want at most the model's 16/,
    ],
    [
      'a length past the model: eval',
      () => ['eval', at('model'), '--data', at('text.txt'), '--length', '17'],
      /--length: got 17/,
    ],
    [
      'a length past the model: train',
      () => trainInto('no', '--config', at('model/config.json'), '--length', '17'),
      /--length: got 17/,
    ],
    ['a folder with files: train', () => trainInto('model'), /--out: .*model is not empty .*--resume.*--force/],
    ['a folder with files: convert', () => convertInto('bare'), /--out: .*bare is not empty \(notes\.txt\)/],
    ['a file in place of the folder', () => convertInto('text.txt'), /--out: .*text\.txt: is a file, want a folder/],
    ['the model itself as the folder', () => convertInto('model', '--force'), /is the model that is converted/],
    ['nothing of a job to resume: train', () => trainInto('bare', '--resume'), /--out: .*bare is not empty \(notes/],
    ['nothing of a job to resume: convert', () => convertInto('bare', '--resume'), /--out: .*bare is not empty/],
    ['the best without what it is chosen by', () => trainInto('no', '--best'), /--best: .*pass it too/],
    [
      'an evaluation to resume nowhere',
      () => ['eval', at('model'), '--data', at('text.txt'), '--resume'],
      /wants --out/,
    ],
  ]
  before(async () => {
    await mkdir(at('bare'))
    await writeFile(at('bare/notes.txt'), 'mine')
  })
  for (const [what, argv, message] of cases) {
    test(what, async () => {
      await fails(argv(), 2, message)
      assert.deepEqual(await contents(at('no')), {})
      assert.deepEqual(await contents(at('bare')), { 'notes.txt': 'mine' })
    })
  }
})

describe('a model that is broken ends with 1 and one line that names what is wrong', () => {
  const model = () => at('broken')
  const edit = async (change: (params: Record<string, Params[string]>) => void) => {
    const source = folderSource(model())
    const { names, tensor } = await openSafetensors(source, 'model.safetensors')
    const params: Record<string, Params[string]> = {}
    for (const name of names) params[name] = await tensor(name)
    change(params)
    await writeSafetensors(folderSink(model()), 'model.safetensors', params)
  }
  const editJson = async (file: string, change: object) => {
    const json = JSON.parse(await readFile(join(model(), file), 'utf8'))
    await writeFile(join(model(), file), JSON.stringify({ ...json, ...change }))
  }
  const file = (name: string) => join(model(), name)
  const cases: readonly [string, () => Promise<unknown>, RegExp][] = [
    ['no folder', () => rm(model(), { recursive: true }), /broken: no such folder/],
    ['no weights', () => rm(file('model.safetensors')), /broken: has no weights, want one of model\.safetensors/],
    ['weights cut off', () => truncate(file('model.safetensors'), 900), /broken\/model\.safetensors: .*cut off/],
    ['weights of no byte', () => truncate(file('model.safetensors'), 0), /got 0 bytes.*cut off/],
    ['no config', () => rm(file('config.json')), /broken: has no file config\.json/],
    [
      'a config that is no JSON',
      () => writeFile(file('config.json'), '{"n_embd"'),
      /broken: config\.json: is not JSON/,
    ],
    ['a config that is a list', () => writeFile(file('config.json'), '[]'), /config\.json: want a JSON object/],
    [
      'an unknown family',
      () => editJson('config.json', { model_type: 'mamba' }),
      /broken: config\.json: model_type: got "mamba", want one of gpt2/,
    ],
    [
      'a model of another task',
      () => editJson('config.json', { architectures: ['GPT2Model'] }),
      /broken: config\.json: the model is for features; want one that predicts the next token/,
    ],
    [
      'a config without width',
      () => editJson('config.json', { n_embd: null }),
      /config\.json: n_embd: got null, want a whole number/,
    ],
    [
      'an unknown map',
      () => editJson('config.json', { hedgehog: { attention: [{ kind: 'linear', map: 'x' }] } }),
      /broken: config\.json: hedgehog\.attention\[0\]: got feature map x/,
    ],
    [
      'tensors missing',
      () => edit((params) => delete params['transformer.ln_f.bias']),
      /tensors do not fit config\.json: missing ln_f\.bias/,
    ],
    ['tensors of another model', () => edit((params) => (params['h.7.x'] = floats([1]))), /not of this model h\.7\.x/],
    [
      'a tensor of another shape',
      () => edit((params) => (params['transformer.ln_f.bias'] = floats([3]))),
      /of another shape ln_f\.bias is \[3\], want \[8\]/,
    ],
    [
      'a weight that is no number',
      () => edit((params) => (params['transformer.ln_f.bias']!.data[2] = Number.NaN)),
      /broken: transformer\.ln_f\.bias: value 2 is NaN/,
    ],
    ['no tokenizer', () => rm(file('tokenizer.json')), /broken: has no file tokenizer\.json/],
    [
      'a tokenizer larger than the vocabulary',
      () => editJson('tokenizer.json', { added_tokens: [{ id: 999, content: '<x>', special: true }] }),
      /tokenizer\.json has 1000 tokens, config\.json has vocab_size 270/,
    ],
  ]
  for (const [what, breakIt, message] of cases) {
    test(what, async () => {
      await rm(model(), { recursive: true, force: true })
      await cp(at('model'), model(), { recursive: true })
      await breakIt()
      await fails(['eval', model(), '--data', at('text.txt')], 1, message)
      await fails(['convert', model(), '--data', at('text.txt'), '--out', at('no')], 1, message)
      assert.deepEqual(await contents(at('no')), {})
    })
  }
})

describe('a text that cannot be used ends with 1 and one line that names it', () => {
  const cases: readonly [string, string | Uint8Array | undefined, RegExp][] = [
    ['missing', undefined, /bad\.txt: no such file/],
    ['empty', '', /bad\.txt: is empty; want text/],
    ['blank', ' \n\n ', /bad\.txt: is empty; want text/],
    ['of no UTF-8', Uint8Array.of(0x61, 0xff, 0xfe, 0x62), /bad\.txt: is not UTF-8 text/],
    [
      'too short',
      'a green door',
      /too little text, got \d+ tokens, want at least \d+|got text for \d+ tokens, want 270/,
    ],
  ]
  for (const [what, text, message] of cases) {
    test(what, async () => {
      await rm(at('bad.txt'), { force: true })
      if (text !== undefined) await writeFile(at('bad.txt'), text)
      await fails(['eval', at('model'), '--data', at('bad.txt')], 1, message)
      await fails(['convert', at('model'), '--data', at('bad.txt'), '--out', at('no')], 1, message)
      await fails(['train', '--data', at('bad.txt'), '--out', at('no'), ...tiny], 1, message)
      assert.deepEqual(await contents(at('no')), {})
    })
  }

  test('too short for one batch, or a folder', async () => {
    await fails(trainInto('no', '--batch', '500'), 1, /too little text, got \d+ tokens, want at least 8001/)
    await fails(convertInto('no', '--batch', '900'), 1, /training text: .*too little text/)
    await fails(['eval', at('model'), '--data', at('model')], 1, /model: cannot be read/)
    assert.deepEqual(await contents(at('no')), {})
  })

  test('one line without an end is split all the same', async () => {
    const none = ['--distill-steps', '0', '--finetune-steps', '0']
    await writeFile(at('line.txt'), (await readFile(at('text.txt'), 'utf8')).replaceAll('\n', ' '))
    await succeeds(['convert', at('model'), '--data', at('line.txt'), '--out', at('line'), ...small, ...none])
  })
})

/** The words of the command that an interruption prints, without `hedgehog`. */
function printedCommand(err: string): string[] {
  const found = /go on with: hedgehog (.*)\n$/.exec(err)
  assert.ok(found, err)
  return found[1]!.split(' ')
}

describe('Ctrl-C', () => {
  test('in a real process: train ends with 130, and the printed command ends in the same weights', async () => {
    const more = ['--accumulate', '2', '--dropout', '0.1', '--json']
    await succeeds(trainInto('whole', ...more))
    const child = spawn(process.execPath, ['--import', 'tsx', main, ...trainInto('stopped', ...more)])
    let err = ''
    child.stderr.on('data', (data) => {
      err += data
    })
    child.stdout.once('data', () => child.kill('SIGINT'))
    const code = await new Promise((resolve) => child.on('close', resolve))
    assert.equal(code, 130, err)
    assert.match(err, /stopping after this step/)
    assert.match(err, /hedgehog: train: stopped after step [1-5] of 6; saved in .*; go on with: hedgehog train /)
    assert.ok(Object.keys(await contents(at('stopped'))).every((name) => name.startsWith('work/')))
    await succeeds(printedCommand(err))
    assert.equal(await weights(at('stopped')), await weights(at('whole')))
    const curve = async (out: string) => JSON.parse(await readFile(at(out, 'training.json'), 'utf8')).curve
    assert.deepEqual(await curve('stopped'), await curve('whole'))
  })

  test('in a conversion with --force keeps the old result, and the printed command ends in the same weights', async () => {
    await cp(at('model'), at('forced'), { recursive: true })
    const old = await contents(at('forced'))
    const argv = convertInto('forced', '--force', '--json')
    const { code, err } = await hedgehog(argv, ({ phase, step }, interrupt) => {
      if (phase === 'distill hedgehog-distilled' && step === 2) interrupt()
    })
    assert.equal(code, 130)
    const { 'work/job.json': job, ...rest } = await contents(at('forced'))
    assert.ok(job)
    assert.deepEqual(Object.fromEntries(Object.entries(rest).filter(([name]) => !name.startsWith('work/'))), old)
    await fails(convertInto('forced', '--force', '--resume', '--distill-steps', '4'), 1, /distill\.steps was 3, now 4/)
    await succeeds(printedCommand(err))
    assert.equal(await weights(at('forced')), await weights(at('story')))
    const rows = async (out: string) =>
      JSON.parse(await readFile(at(out, 'report.json'), 'utf8')).rows.map((row: object) => ({ ...row, seconds: 0 }))
    assert.deepEqual(await rows('forced'), await rows('story'))
    assert.ok(!Object.keys(await contents(at('forced'))).some((name) => name.startsWith('work/')))
  })

  test('in a training with --force keeps the old model with its tokenizer', async () => {
    await cp(at('model'), at('kept'), { recursive: true })
    const old = await contents(at('kept'))
    const argv = trainInto('kept', '--force', '--vocab', '265', '--json')
    const { code, err } = await hedgehog(argv, ({ step }, interrupt) => step === 2 && interrupt())
    assert.equal(code, 130)
    const rest = Object.entries(await contents(at('kept'))).filter(([name]) => !name.startsWith('work/'))
    assert.deepEqual(Object.fromEntries(rest), old)
    await fails([...argv, '--resume', '--steps', '9'], 1, /recipe\.steps was 6, now 9/)
    await succeeds(printedCommand(err))
    assert.equal((await loadModel(folderSource(at('kept')))).config.vocab, 265)
  })

  test('ends a measurement', async () => {
    const argv = ['eval', at('model'), '--data', at('text.txt'), '--batch', '1', '--json']
    const { code, err } = await hedgehog(argv, ({ step }, interrupt) => step === 2 && interrupt())
    assert.equal(code, 130)
    assert.match(err, /score: stopped after batch 2 of/)
  })
})

describe('a job that is taken up again', () => {
  const kept = async (out: string) => Object.keys(await contents(at(out, 'work'))).filter((name) => name !== 'job.json')

  /** A training that was interrupted after four steps of six, with states of the third and the fourth. */
  async function stopped(out: string, ...more: readonly string[]) {
    const argv = trainInto(out, '--checkpoint-every', '1', ...more)
    const { code } = await hedgehog([...argv, '--json'], ({ step }, interrupt) => step === 4 && interrupt())
    assert.equal(code, 130)
    assert.deepEqual(await kept(out), ['train.step-000003.safetensors', 'train.step-000004.safetensors'])
    return [...argv, '--resume']
  }

  test('goes on from the last good state where the newest is damaged, says so, and ends the same', async () => {
    await succeeds(trainInto('sound'))
    const again = await stopped('damaged')
    const newest = at('damaged/work/train.step-000004.safetensors')
    const bytes = await readFile(newest)
    bytes[bytes.length - 3]! ^= 4
    await writeFile(newest, bytes)
    const { err } = await succeeds([...again, '--quiet'])
    assert.match(err, /step-000004\.safetensors: is damaged: .*; it is left out\n/)
    assert.match(err, /train: goes on from the last good state, that of step 3\n/)
    assert.equal(await weights(at('damaged')), await weights(at('sound')))
  })

  test('begins where nothing was begun, and does nothing where all is done', async () => {
    const argv = trainInto('idempotent', '--resume', '--json')
    const first = await succeeds(argv)
    const files = await contents(at('idempotent'))
    const second = await succeeds(argv)
    assert.match(second.err, /idempotent: this job was finished before; --force does it again/)
    assert.deepEqual(JSON.parse(second.last), JSON.parse(first.last))
    assert.deepEqual(await contents(at('idempotent')), files)
    await fails([...trainInto('idempotent', '--resume'), '--steps', '9'], 1, /recipe\.steps was 6, now 9/)
    await succeeds([...trainInto('idempotent', '--resume', '--force', '--quiet'), '--steps', '7'])
    for (const name of ['story', 'forced']) {
      const { err } = await succeeds([...convertInto(name, '--resume'), '--quiet'])
      assert.match(err, /was finished before/)
    }
  })

  test('is refused on other data, whatever their length', async () => {
    const again = await stopped('other')
    const text = await readFile(at('text.txt'), 'utf8')
    await writeFile(at('changed.txt'), text.replace('the', 'eht'))
    await fails(
      again.map((word) => (word === at('text.txt') ? at('changed.txt') : word)),
      1,
      /written by a job with other settings: data was /,
    )
  })

  test('has the weights of the lowest held-out loss where they are asked for', async () => {
    const argv = trainInto('best', '--validation', at('text.txt'), '--eval-every', '1', '--lr', '5', '--best', '--json')
    const { best } = JSON.parse((await succeeds(argv)).last)
    const { curve } = JSON.parse(await readFile(at('best/training.json'), 'utf8'))
    const lowest = Math.min(...curve.map(({ validationLoss }: { validationLoss: number }) => validationLoss))
    assert.equal(curve[best - 1].validationLoss, lowest)
    assert.notEqual(best, 6, 'such a learning rate does harm')
    const score = JSON.parse((await succeeds(['eval', at('best'), '--data', at('text.txt'), '--json'])).last)
    assert.ok(Math.abs(score.loss - lowest) < 1e-4)
  })

  test('says when its folder has vanished, rather than making it anew where a drive was', async () => {
    const argv = trainInto('drive', '--checkpoint-every', '1', '--json')
    const { code, err } = await hedgehog(argv, ({ step }) => {
      if (step === 2) renameSync(at('drive'), at('unplugged'))
    })
    assert.match(err, /drive: not written: the folder has vanished while the job ran; bring it back; the last good/)
    assert.equal(code, 1)
    assert.deepEqual(await contents(at('drive')), {})
    renameSync(at('unplugged'), at('drive'))
    await succeeds(printedCommand(err))
    await succeeds(trainInto('undisturbed'))
    assert.equal(await weights(at('drive')), await weights(at('undisturbed')))
  })

  test('repeats no part of an evaluation that was noted, and measures a damaged one anew', async () => {
    const argv = ['eval', at('model'), '--data', at('text.txt'), '--batch', '1', '--out', at('measured')]
    const stop = await hedgehog([...argv, '--json'], ({ step }, interrupt) => step === 3 && interrupt())
    assert.match(stop.err, /score: stopped after batch 3 of \d+; saved in .*; go on with: .* --resume/)
    const [first] = (await kept('measured')).sort()
    await writeFile(at('measured/work', first!), '{}')
    const { last, err } = await succeeds([...argv, '--resume', '--json'])
    assert.match(err, /is damaged; it is left out/)
    const plain = await succeeds(['eval', at('model'), '--data', at('text.txt'), '--batch', '1', '--json'])
    assert.deepEqual(JSON.parse(last), JSON.parse(plain.last))
    assert.deepEqual(Object.keys(await contents(at('measured'))), ['eval.json'])
  })
})

describe('a full disk', () => {
  const disk = () => at('disk')
  let mounted = false
  before(async () => {
    await mkdir(disk())
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', disk()], { stdio: 'ignore' })
      mounted = true
    } catch {}
  })
  after(() => {
    if (mounted) execFileSync('umount', [disk()])
  })

  test('loses no earlier result, leaves nothing half-written, and the job goes on when there is room', async (context) => {
    if (!mounted) return context.skip('a small disk cannot be mounted here')
    const out = join('disk', 'result')
    await mkdir(at(out))
    for (const name of ['config.json', 'model.safetensors']) await writeFile(at(out, name), `old ${name}`)
    const old = await contents(at(out))
    // Each of its states is the larger part of the disk.
    const wide = ['--quiet', '--width', '24', '--checkpoint-every', '2']
    const { code, err } = await hedgehog(trainInto(out, '--force', ...wide))
    assert.match(
      err,
      /safetensors: not written: disk full; the last good state is .*step-000002\.safetensors, after step 2 of train; /,
    )
    assert.equal(code, 1)
    const own = Object.entries(await contents(at(out))).filter(([name]) => !name.startsWith('work/'))
    assert.deepEqual(Object.fromEntries(own), old)
    execFileSync('mount', ['-o', 'remount,size=2m', disk()])
    await succeeds(printedCommand(err))
    await succeeds(trainInto('roomy', ...wide))
    assert.equal(await weights(at(out)), await weights(at('roomy')))

    execFileSync('mount', ['-o', 'remount,size=220k', disk()])
    await rm(at(out), { recursive: true })
    await mkdir(at(out))
    for (const name of ['config.json', 'model.safetensors']) await writeFile(at(out, name), `old ${name}`)
    const argv = convertInto(out, '--force', '--quiet', '--compare', 'elu', '--finetune-steps', '0')
    await writeFile(join(disk(), 'ballast'), new Uint8Array(160_000))
    await fails(argv, 1, /\.new\/[a-z.]+: not written: disk full/)
    const found = Object.entries(await contents(at(out))).filter(([name]) => !name.startsWith('work/'))
    assert.deepEqual(Object.fromEntries(found), old)
    await rm(join(disk(), 'ballast'))
    await succeeds([...argv, '--resume'])
    assert.equal((await loadModel(folderSource(at(out)))).config.layers, 1)
  })
})
