/** Names of every map and kind of attention, with their choices: what tests of the whole table run over. */

import { featureMaps } from '../../src/attention/featureMaps.ts'

/** Every map of the table as it is. A new entry is tested without another line. */
export const mapNames: readonly string[] = Object.keys(featureMaps)

/** Maps with what can be chosen of them. */
export const chosenMaps: readonly string[] = [
  'hedgehog-exp+half',
  'hedgehog-exp+bias+tied',
  'hedgehog-softmax+half+bias+tied',
  't2r:3',
  't2r-hh+tied',
  'rebased+tied',
  'exp-t:2',
  'performer:7',
  'cosformer:16',
]

/** Kinds of attention beside linear ones, with windows that are shorter and longer than the texts of the tests. */
export const otherKinds: readonly string[] = [
  'softmax',
  'none',
  'window:3',
  'window:2:1',
  'window:5:4',
  'top-k:2',
  'top-k:50',
  'hybrid:3',
  'hybrid:50',
  'hybrid:3:2',
  'hybrid:2:3/hedgehog-exp',
  'hybrid:3:1/taylor',
  'hybrid:2:1/cosformer:16',
  'hybrid:2:2/hedgehog-softmax:linear-only',
  'hybrid:2/hedgehog-exp+tied',
  'hybrid:3/t2r',
  'hybrid:2/cosformer:16',
  'hybrid:3/hedgehog-softmax:linear-only',
  'hybrid:2:1/hedgehog-exp:linear-only',
  'hybrid:3/performer:7:window-only',
]
