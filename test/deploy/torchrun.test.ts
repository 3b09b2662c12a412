/** deploy/torchrun without Python: what its files say of hedgehog is so. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { featureMap, featureMaps } from '../../src/attention/featureMaps.ts'
import { mapSpecs } from '../../src/attention/mapParams.ts'
import { commands } from '../../src/cli/commands.ts'
import { families } from '../../src/models/families.ts'

const file = (name: string) => readFile(new URL(`../../deploy/torchrun/${name}`, import.meta.url), 'utf8')
const model = await file('hedgehog_model.py')
const table = /^MAPS = \{\n([\s\S]*?)^\}/m.exec(model)![1]!
const names = [...table.matchAll(/^ {4}"([^"]+)":/gm)].map(([, name]) => name!)

describe('training under torchrun', () => {
  it('knows maps of the table, whose parameters are the ones that it finds by name', () => {
    assert.ok(names.length >= 3)
    for (const name of names) {
      const variants = featureMaps[name]!.variants.filter((variant) => variant !== 'tied')
      const paths = Object.keys(mapSpecs(featureMap([name, ...variants].join('+')), false, { heads: 2, headDim: 4 }))
      for (const path of paths) {
        const [side, parameter] = path.split('.')
        assert.ok(model.includes(`"${side}"`) && ['weight', 'bias'].includes(parameter!), path)
      }
    }
  })

  it('finds the layer of a map in its path, and the tensors by the names that folders have', () => {
    for (const family of ['gpt2', 'llama', 'mistral', 'qwen2']) {
      assert.match(families[family]!.blockPrefix(3), /\.3\.$/)
    }
  })

  it('is described by command lines that there are', async () => {
    const readme = await file('README.md')
    const lines = [...readme.matchAll(/^hedgehog (.+)$/gm)].map(([, line]) => line!.split(/ +#/)[0]!.trim().split(/ +/))
    assert.ok(lines.length >= 3)
    for (const [word, ...rest] of lines) {
      const { options } = commands.find(({ name }) => name === word)!
      for (const flag of rest.filter((one) => one.startsWith('--'))) {
        const name = flag.slice(2).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
        assert.ok(name in options, `hedgehog ${word} ${flag}`)
      }
    }
    const script = await file('train.py')
    const [given] = [[...readme.matchAll(/train\.py (.+)$/gm)].map(([, line]) => line!).join(' ')]
    for (const [flag] of given.matchAll(/--[a-z]+/g)) assert.ok(script.includes(`"${flag}"`), flag)
  })
})
