/** Short names of a model and a tokenizer, equal only for equal ones: whoever keeps a state says with them whose it is. */

import { familyOf } from '../models/families.ts'
import type { Model } from '../models/model.ts'

/** Whose a state is: hashes of all that it depends on. */
export interface Identity {
  readonly config: string
  readonly weights: string
  readonly tokenizer: string
}

/** Values of each parameter that enter the hash, evenly spread: training changes all of them. */
const sampled = 256

/**
 * The identity of a model and its tokenizer: SHA-256 of the config, of evenly spaced values of every parameter, and of
 * what `tokenizer.json` holds.
 */
export async function identityOf({ config, params }: Model, tokenizer: { readonly json: object }): Promise<Identity> {
  const names = Object.keys(params).sort()
  const values = names.flatMap((name) => {
    const { shape, data } = params[name]!
    const step = Math.max(1, data.length / sampled)
    const count = Math.min(sampled, data.length)
    return [name, shape.join(), ...Array.from({ length: count }, (_, i) => data[Math.floor(i * step)]!)]
  })
  return {
    config: await hash(familyOf(config).writeConfig(config)),
    weights: await hash(values),
    tokenizer: await hash(tokenizer.json),
  }
}

/** The first 64 bits of SHA-256 of a value as JSON, in hexadecimal digits. */
async function hash(value: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(value))
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
