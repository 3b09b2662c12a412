/** The table of views: the navigation, addresses and tests run over it. */

import type { ViewEntry } from './app.ts'

const rest = () => import('./views/all.ts')

export const views: readonly ViewEntry[] = [
  {
    path: 'start',
    title: 'Start',
    about: 'What hedgehog does, and what this browser has for it.',
    load: () => import('./views/start.ts'),
  },
  {
    path: 'attention',
    title: 'Attention',
    about: 'See which words attend to which, by softmax and by a linear attention as it learns.',
    load: async () => (await rest()).attention,
  },
  {
    path: 'convert',
    title: 'Convert',
    about: 'Turn the bundled model, or one of yours, into one with linear attention, and watch it learn.',
    load: async () => (await rest()).convert,
  },
  {
    path: 'chat',
    title: 'Chat',
    about: 'Let a converted model go on with a text or answer, and see how little it keeps of what it has read.',
    load: async () => (await rest()).chat,
  },
  {
    path: 'recall',
    title: 'Recall',
    about: 'Train two small models from scratch side by side, and see which attention learns to recall.',
    load: async () => (await rest()).recall,
  },
  {
    path: 'report',
    title: 'Report',
    about: 'Open the report of a conversion, an inspection or an experiment that the command line wrote.',
    load: async () => (await rest()).report,
  },
]
