"""Classification metrics and correlations of seeded examples.

Reference: scikit-learn 1.9.1 (accuracy, F1, Matthews), scipy 1.17.1 (Pearson, Spearman), seed 4.
Command:   python scripts/golden/classification.py
Writes:    test/fixtures/classification.json
           classes: [{predictions, labels, accuracy, f1 (of class 1), f1-macro, matthews}]
           scores:  [{scores, targets, pearson, spearman}], with ties, large offsets and small spreads
"""

import json
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn import metrics

SEED = 4
FILE = Path(__file__).resolve().parents[2] / "test/fixtures/classification.json"


def classes(rng, count, kinds, right):
    labels = rng.integers(0, kinds, count)
    other = rng.integers(0, kinds, count)
    predictions = np.where(rng.random(count) < right, labels, other)
    of_one = {"labels": [1], "average": "macro", "zero_division": 0}
    return {
        "predictions": predictions.tolist(),
        "labels": labels.tolist(),
        "accuracy": float(metrics.accuracy_score(labels, predictions)),
        "f1": float(metrics.f1_score(labels, predictions, **of_one)),
        "f1-macro": float(metrics.f1_score(labels, predictions, average="macro", zero_division=0)),
        "matthews": float(metrics.matthews_corrcoef(labels, predictions)),
    }


def scores(rng, count, offset, spread, decimals):
    targets = rng.normal(size=count)
    found = targets * rng.normal() + rng.normal(size=count)
    targets = np.round(targets, decimals) * spread + offset
    return {
        "scores": found.tolist(),
        "targets": targets.tolist(),
        "pearson": float(stats.pearsonr(found, targets).statistic),
        "spearman": float(stats.spearmanr(found, targets).statistic),
    }


def main():
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(SEED)
    rows = {
        "classes": [
            *(classes(rng, count, 2, right) for count in (1, 2, 7, 40) for right in (0, 0.5, 0.9, 1)),
            *(classes(rng, count, kinds, right) for count, kinds in ((9, 3), (50, 5)) for right in (0, 0.6, 1)),
        ],
        "scores": [
            scores(rng, count, offset, spread, decimals)
            for count in (3, 20)
            for offset, spread in ((0, 1), (1000, 0.01), (-3, 1e8))
            for decimals in (0, 12)
        ],
    }
    text = {key: ",\n".join(json.dumps(row, separators=(",", ":")) for row in value) for key, value in rows.items()}
    FILE.write_text("{" + ",\n".join(f'"{key}":[\n{value}\n]' for key, value in text.items()) + "}\n")


if __name__ == "__main__":
    main()
