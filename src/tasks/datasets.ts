/** The table of datasets: what each is, which files of its release it is read from, and where those are to be had. */

import { readDialogues, readPictures, wikiDocuments } from './corpora.ts'
import { type Dataset, dataset, hasFile } from './dataset.ts'
import { glueLayouts, readGlue, readMrpc } from './glue.ts'
import {
  type CifarSplit,
  type PathfinderSplit,
  readCifar,
  readListOps,
  readPairs,
  readPathfinder,
  readReviews,
} from './longRange.ts'
import { readTable } from './tables.ts'

const glueHome = 'https://dl.fbaipublicfiles.com/glue/data'
const glueLicence = 'research; each corpus has terms of its own, see https://gluebenchmark.com/tasks'

function glue(task: keyof typeof glueLayouts, about: string, folder: string, archive: string, suffix = '') {
  const layout = glueLayouts[task]
  return dataset(
    {
      kind: 'texts',
      about,
      folder,
      splits: { train: ['train.tsv'], validation: [`dev${suffix}.tsv`], test: [`test${suffix}.tsv`] },
      url: `${glueHome}/${archive}`,
      licence: glueLicence,
      classes: layout.classes,
    },
    ({ source, files }) => readGlue(source, files[0]!, layout),
  )
}

/** MRPC has no archive: it is made of the original corpus, by download_glue_data.py or here. */
function mrpc(): Dataset<'texts'> {
  const made = glue('mrpc', 'do two sentences say the same', 'MRPC', '')
  const original = dataset(
    {
      ...made,
      splits: {
        train: ['msr_paraphrase_train.txt', 'mrpc_dev_ids.tsv'],
        validation: ['msr_paraphrase_train.txt', 'mrpc_dev_ids.tsv'],
        test: ['msr_paraphrase_test.txt'],
      },
      url: `${glueHome}/mrpc_dev_ids.tsv and https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_{train,test}.txt`,
    },
    ({ source, split, files }) =>
      split === 'test'
        ? readGlue(source, files[0]!, glueLayouts.mrpc)
        : readMrpc(source, split === 'train' ? 'train' : 'dev'),
  )
  return {
    ...original,
    async *read(source, split) {
      const file = made.splits[split]?.[0]
      yield* (file && (await hasFile(source, file)) ? made : original).read(source, split)
    },
  }
}

const lra = { url: 'https://storage.googleapis.com/long-range-arena/lra_release.gz', licence: 'Apache 2.0 (its code)' }

const cifarTraining = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`)
const pathfinderLists = ['metadata/*.npy']

function wikitext(about: string, folder: string, archive: string, end: string) {
  const file = (split: string) => [`wiki.${split}.${end}`]
  return dataset(
    {
      kind: 'documents',
      about,
      folder,
      splits: { train: file('train'), validation: file('valid'), test: file('test') },
      url: `https://wikitext.smerity.com/${archive}`,
      licence: 'CC BY-SA 3.0 and GFDL',
      classes: [],
    },
    ({ source, files }) => wikiDocuments(source, files[0]!),
  )
}

/** Datasets by name. Experiments, help and docs run over it. */
export const datasets = {
  'glue-cola': glue('cola', 'is a sentence grammatical (Matthews correlation)', 'CoLA', 'CoLA.zip'),
  'glue-sst2': glue('sst2', 'is a sentence on a film positive', 'SST-2', 'SST-2.zip'),
  'glue-mrpc': mrpc(),
  'glue-stsb': glue('stsb', 'how similar are two sentences, 0 to 5 (correlation)', 'STS-B', 'STS-B.zip'),
  'glue-qqp': glue('qqp', 'do two questions ask the same', 'QQP', 'QQP-clean.zip'),
  'glue-mnli-matched': glue('mnli', 'does one sentence follow from another', 'MNLI', 'MNLI.zip', '_matched'),
  'glue-mnli-mismatched': glue('mnli', 'the same, on other genres', 'MNLI', 'MNLI.zip', '_mismatched'),
  'glue-qnli': glue('qnli', 'does a sentence answer a question', 'QNLI', 'QNLIv2.zip'),
  'glue-rte': glue('rte', 'does one sentence follow from another', 'RTE', 'RTE.zip'),
  'lra-listops': dataset(
    {
      ...lra,
      kind: 'tokens',
      about: 'the value of nested operators on digits',
      folder: 'lra_release/listops-1000',
      splits: { train: ['basic_train.tsv'], validation: ['basic_val.tsv'], test: ['basic_test.tsv'] },
      classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
      vocab: 16,
    },
    ({ source, files }) => readListOps(source, files[0]!),
  ),
  'lra-text': dataset(
    {
      kind: 'tokens',
      about: 'is a film review positive, byte by byte',
      folder: 'aclImdb',
      splits: { train: ['train/neg/*.txt', 'train/pos/*.txt'], test: ['test/neg/*.txt', 'test/pos/*.txt'] },
      url: 'https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz',
      licence: 'not stated; cite Maas et al. 2011',
      classes: ['negative', 'positive'],
      vocab: 256,
    },
    ({ source, files }) => readReviews(source, files),
  ),
  'lra-retrieval': dataset(
    {
      ...lra,
      kind: 'tokens',
      about: 'does one paper cite the other, byte by byte',
      folder: 'lra_release/lra_release/tsv_data',
      splits: {
        train: ['new_aan_pairs.train.tsv'],
        validation: ['new_aan_pairs.eval.tsv'],
        test: ['new_aan_pairs.test.tsv'],
      },
      classes: ['unrelated', 'related'],
      vocab: 256,
    },
    ({ source, files }) => readPairs(source, files[0]!),
  ),
  'lra-image': dataset(
    {
      kind: 'tokens',
      about: 'what a small picture shows, pixel by pixel',
      folder: 'cifar-10-batches-bin',
      splits: { train: cifarTraining, validation: cifarTraining, test: ['test_batch.bin'] },
      url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
      licence: 'not stated; cite Krizhevsky 2009',
      classes: ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'],
      vocab: 256,
    },
    ({ source, split, files }) => readCifar(source, files, split as CifarSplit),
  ),
  'lra-pathfinder': dataset(
    {
      ...lra,
      kind: 'tokens',
      about: 'are two dots on one path, pixel by pixel',
      folder: 'lra_release/lra_release/pathfinder32/curv_contour_length_14',
      splits: { train: pathfinderLists, validation: pathfinderLists, test: pathfinderLists },
      classes: ['apart', 'connected'],
      vocab: 256,
    },
    ({ source, split, files, options }) => {
      if (!options.decode) throw new TypeError('lra-pathfinder: got no decoder of PNG pictures, want one as decode')
      return readPathfinder(source, files, split as PathfinderSplit, options.decode)
    },
  ),
  'wikitext-103': wikitext(
    'the next word of Wikipedia articles, rare words as <unk>',
    'wikitext-103',
    'wikitext-103-v1.zip',
    'tokens',
  ),
  'wikitext-103-raw': wikitext(
    'the next word of Wikipedia articles',
    'wikitext-103-raw',
    'wikitext-103-raw-v1.zip',
    'raw',
  ),
  samsum: dataset(
    {
      kind: 'dialogues',
      about: 'a summary of a chat',
      folder: 'corpus',
      splits: { train: ['train.json'], validation: ['val.json'], test: ['test.json'] },
      url: 'https://arxiv.org/src/1911.12237v2/anc/corpus.7z',
      licence: 'CC BY-NC-ND 4.0',
      classes: [],
    },
    ({ source, files }) => readDialogues(source, files[0]!),
  ),
  'imagenet-1k': dataset(
    {
      kind: 'pictures',
      about: 'what a photograph shows, of 1000 things',
      folder: 'ILSVRC2012',
      splits: { train: ['train/*/*.JPEG'], validation: ['val/*/*.JPEG'] },
      url: 'https://image-net.org/download-images',
      licence: 'non-commercial research, after registration',
      classes: [],
    },
    ({ files, listing }) => readPictures(files, listing),
  ),
  spam: dataset(
    {
      kind: 'texts',
      about: 'is a mail unwanted',
      folder: '.cache/tasks/spam',
      splits: { train: ['train.jsonl'], validation: ['validation.jsonl'], test: ['test.jsonl'] },
      url: 'node --import tsx scripts/prepare-tasks.ts',
      licence: 'data ODC PDDL 1.0, contents CC0 1.0',
      classes: ['ham', 'spam'],
    },
    ({ source, files }) => readTable(source, files[0]!, { classes: ['ham', 'spam'] }),
  ),
} as const satisfies Readonly<Record<string, Dataset>>

/** A name of the table {@link datasets}. */
export type DatasetName = keyof typeof datasets
