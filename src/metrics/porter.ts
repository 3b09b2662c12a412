/**
 * The Porter stemmer for English, as ROUGE uses it: the algorithm of M. Porter, "An algorithm for suffix stripping",
 * Program 14.3 (1980), with the changes that NLTK makes by default (`PorterStemmer.NLTK_EXTENSIONS`), each marked below.
 */

/** A suffix, what takes its place, and what must hold of the stem before it. The first suffix that a word ends in decides. */
type Rule = readonly [suffix: string, replacement: string, holds: (stem: string) => boolean]

/** NLTK: words that the rules treat badly. */
const irregular: Readonly<Record<string, string>> = {
  skies: 'sky',
  sky: 'sky',
  dying: 'die',
  lying: 'lie',
  tying: 'tie',
  news: 'news',
  innings: 'inning',
  inning: 'inning',
  outings: 'outing',
  outing: 'outing',
  cannings: 'canning',
  canning: 'canning',
  howe: 'howe',
  proceed: 'proceed',
  exceed: 'exceed',
  succeed: 'succeed',
}

const always = () => true
const measuresOne = (stem: string) => measure(stem) > 0
const measuresTwo = (stem: string) => measure(stem) > 1

const step1a = rules(always, 'sses ss', 'ies i', 'ss ss', 's ')
const afterStep1b = rules(always, 'at ate', 'bl ble', 'iz ize')
const step2 = [
  ...rules(measuresOne, 'ational ate', 'tional tion', 'enci ence', 'anci ance', 'izer ize', 'bli ble', 'entli ent'),
  ...rules(measuresOne, 'eli e', 'ousli ous', 'ization ize', 'ation ate', 'ator ate', 'alism al', 'iveness ive'),
  ...rules(measuresOne, 'fulness ful', 'ousness ous', 'aliti al', 'iviti ive', 'biliti ble', 'fulli ful'),
  // NLTK: the l counts for the stem, so that short ones such as geo have a measure.
  ...rules((stem) => measuresOne(`${stem}l`), 'logi log'),
]
const step3 = rules(measuresOne, 'icate ic', 'ative ', 'alize al', 'iciti ic', 'ical ic', 'ful ', 'ness ')
const step4 = [
  ...rules(measuresTwo, 'al ', 'ance ', 'ence ', 'er ', 'ic ', 'able ', 'ible ', 'ant ', 'ement ', 'ment ', 'ent '),
  ...rules((stem) => measuresTwo(stem) && /[st]$/.test(stem), 'ion '),
  ...rules(measuresTwo, 'ou ', 'ism ', 'ate ', 'iti ', 'ous ', 'ive ', 'ize '),
]

/** The stem of a lower-case English word; words of one or two letters are their own. */
export function porterStem(word: string): string {
  if (Object.hasOwn(irregular, word)) return irregular[word]!
  if (word.length <= 2) return word
  const stem = withoutY(withoutPast(withoutPlural(word)))
  return withoutDoubleL(withoutE(apply(step4, apply(step3, applyStep2(stem)))))
}

function rules(holds: Rule[2], ...pairs: readonly string[]): Rule[] {
  return pairs.map((pair) => {
    const [suffix = '', replacement = ''] = pair.split(' ')
    return [suffix, replacement, holds]
  })
}

function apply(list: readonly Rule[], word: string): string {
  for (const [suffix, replacement, holds] of list) {
    if (!word.endsWith(suffix)) continue
    const stem = word.slice(0, word.length - suffix.length)
    return holds(stem) ? stem + replacement : word
  }
  return word
}

/** Step 1a. NLTK: ties becomes tie, not ti. */
function withoutPlural(word: string): string {
  return word.length === 4 && word.endsWith('ies') ? word.slice(0, -1) : apply(step1a, word)
}

/** Step 1b. NLTK: died becomes die, spied spi. */
function withoutPast(word: string): string {
  if (word.endsWith('ied')) return word.length === 4 ? word.slice(0, -1) : word.slice(0, -2)
  if (word.endsWith('eed')) return measuresOne(word.slice(0, -3)) ? word.slice(0, -1) : word
  const ending = ['ed', 'ing'].find((end) => word.endsWith(end) && sounds(word.slice(0, -end.length)).includes('v'))
  if (ending === undefined) return word
  const stem = word.slice(0, -ending.length)
  const whole = apply(afterStep1b, stem)
  if (whole !== stem) return whole
  if (endsInDouble(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1)
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem
}

/** Step 1c. NLTK: after a consonant only, and not as the second letter: happi, but enjoy and by. */
function withoutY(word: string): string {
  const stem = word.slice(0, -1)
  return word.endsWith('y') && stem.length > 1 && sounds(stem).endsWith('c') ? `${stem}i` : word
}

/** NLTK: alli becomes al, and the step is taken again. */
function applyStep2(word: string): string {
  if (!word.endsWith('alli')) return apply(step2, word)
  return measuresOne(word.slice(0, -4)) ? apply(step2, word.slice(0, -2)) : word
}

/** Step 5a. */
function withoutE(word: string): string {
  const stem = word.slice(0, -1)
  if (!word.endsWith('e')) return word
  return measure(stem) > 1 || (measure(stem) === 1 && !endsShort(stem)) ? stem : word
}

/** Step 5b. */
function withoutDoubleL(word: string): string {
  return word.endsWith('ll') && measuresTwo(word.slice(0, -1)) ? word.slice(0, -1) : word
}

/** A word as c for consonants and v for vowels; y is a vowel after a consonant, and all but letters are consonants. */
function sounds(word: string): string {
  let found = ''
  for (const letter of word) {
    const isVowel = 'aeiou'.includes(letter) || (letter === 'y' && found.endsWith('c'))
    found += isVowel ? 'v' : 'c'
  }
  return found
}

/** Porter's m: how often a run of vowels is followed by a consonant. */
function measure(stem: string): number {
  return sounds(stem).split('vc').length - 1
}

/** Porter's *d. */
function endsInDouble(stem: string): boolean {
  return stem.length > 1 && stem.at(-1) === stem.at(-2) && sounds(stem).endsWith('c')
}

/** Porter's *o: consonant, vowel, consonant, the last not w, x or y. NLTK: also a whole stem of vowel and consonant. */
function endsShort(stem: string): boolean {
  const found = sounds(stem)
  return found === 'vc' || (found.endsWith('cvc') && !/[wxy]$/.test(stem))
}
