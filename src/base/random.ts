/** Seeded random numbers that can be split by name, so that adding a draw never shifts the others. */

/** A stream of random numbers. */
export interface Random {
  /** An independent stream, determined by this one's origin and the name alone, not by what was drawn before. */
  split(name: string | number): Random
  /** Uniform in [0, 1) with 32 random bits. */
  uniform(): number
  /** Standard normal (Box–Muller). */
  normal(): number
  /** A uniform integer in [0, n). */
  integer(n: number): number
  /** A random order of 0 … n−1 (Fisher–Yates). */
  permutation(n: number): Int32Array
}

/** A stream from a seed; equal seeds give equal streams on every platform. */
export function random(seed: number): Random {
  const origin = seed >>> 0
  let [a, b, c, d] = seedWords(origin)
  // sfc32: small, fast, and it passes PractRand; see Chris Doty-Humphrey's PractRand suite.
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t
    c |= 0
    return t >>> 0
  }
  const uniform = () => next() / 4294967296
  const integer = (n: number) => Math.floor(uniform() * n)
  return {
    split: (name) => random(hash(`${origin}/${name}`)),
    uniform,
    integer,
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    permutation(n) {
      const order = Int32Array.from({ length: n }, (_, i) => i)
      for (let i = n - 1; i > 0; i--) {
        const j = integer(i + 1)
        ;[order[i], order[j]] = [order[j]!, order[i]!]
      }
      return order
    },
  }
}

function seedWords(seed: number): [number, number, number, number] {
  let state = seed
  const word = () => {
    state = (state + 0x9e3779b9) | 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return z ^ (z >>> 16)
  }
  return [word(), word(), word(), word()]
}

/** FNV-1a over UTF-16 code units, 32 bits. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}
