"""The peer of the tuned classifiers: a linear support vector machine on counts of words or characters.

Wang & Manning (2012) show how strong it is. Settings are scikit-learn's own, none chosen here: TF-IDF of
words and pairs of words, or, where the texts are Chinese, of one to three characters.
"""

from __future__ import annotations

import time

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import LinearSVC

from intently.language.choice import mostly_han
from intently.language.examples import Examples, Parts


def linear(parts: Parts, judged: Examples) -> dict[str, float | int]:
    """Learned from the training part of `parts`; figures on `judged`, and CPU minutes."""
    began = time.process_time()
    chinese = mostly_han(parts.train.texts) > 0.5
    counts = TfidfVectorizer(
        analyzer="char" if chinese else "word", ngram_range=(1, 3) if chinese else (1, 2), sublinear_tf=True
    )
    seen = counts.fit_transform(parts.train.texts)
    guesses = LinearSVC().fit(seen, parts.train.labels).predict(counts.transform(judged.texts))
    return {
        "train": len(parts.train),
        "test": len(judged),
        "classes": len(parts.names),
        "accuracy": round(float(accuracy_score(judged.labels, guesses)), 4),
        "macro_f1": round(float(f1_score(judged.labels, guesses, average="macro")), 4),
        "cpu_minutes": round((time.process_time() - began) / 60.0, 2),
    }
