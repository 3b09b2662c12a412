/**
 * Reads a model in any format and writes it as a folder in float32, for references to load.
 * `node --import tsx scripts/golden/save_model.ts MODEL OUT`
 */

import { finish } from '../../src/base/progress.ts'
import { loadModel, saveModel } from '../../src/models/folder.ts'
import { folderSink } from '../../src/node/files.ts'
import { openSource } from '../../src/node/source.ts'

const [model, out] = process.argv.slice(2)
if (!model || !out) throw new Error('save_model: want MODEL OUT')
await saveModel(folderSink(out), await loadModel(await finish(openSource(model))), { dtype: 'float32' })
