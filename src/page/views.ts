/** The table of views: the navigation, addresses and tests run over it. */

import type { ViewEntry } from './app.ts'

export const views: readonly ViewEntry[] = [
  {
    path: 'start',
    title: 'Start',
    about: 'What hedgehog does, and what this browser has for it.',
    load: () => import('./views/start.ts'),
  },
  {
    path: 'report',
    title: 'Report',
    about: 'Open the report of a conversion, an inspection or an experiment that the command line wrote.',
    load: () => import('./views/report.ts'),
  },
]
