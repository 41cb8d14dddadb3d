"""What a user has for nothing: TF-IDF of words and word pairs with a linear SVM, on the rows a recipe uses.

    python -m benchmarks.linear_model quickstart
    python -m benchmarks.linear_model agnews-mpnet --set data.train=train.csv --set data.test=test.csv

The regularisation is chosen on the validation split, the model is then fitted on the training split, and the
test split is looked at once. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from submillion.data.corpus import load_corpus
from submillion.recipe import Recipe

STRENGTHS = (0.1, 0.3, 1.0, 3.0)


def main() -> None:
    """Fit, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    recipe = Recipe.load(arguments.recipe, arguments.set)
    corpus = load_corpus(recipe.data, recipe.seed)
    if corpus.test is None:
        parser.error("the data has no test split")

    began = time.perf_counter()
    fitted = {}
    for strength in STRENGTHS:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        model = make_pipeline(words, LinearSVC(C=strength, random_state=recipe.seed))
        model.fit(corpus.train.texts, corpus.train.labels)
        validation = accuracy_score(corpus.validation.labels, model.predict(corpus.validation.texts))
        fitted[strength] = (validation, model)
    strength = max(fitted, key=lambda value: fitted[value][0])
    validation, model = fitted[strength]
    predicted = model.predict(corpus.test.texts)
    # Once its strength is chosen, a linear model has no use for validation rows and may learn from them too.
    texts = corpus.train.texts + corpus.validation.texts
    model.fit(texts, corpus.train.labels + corpus.validation.labels)
    with_all = accuracy_score(corpus.test.labels, model.predict(corpus.test.texts))
    result = {
        "model": "TF-IDF (words and pairs) + linear SVM",
        "C": strength,
        "parameters": int(model[-1].coef_.size + model[-1].intercept_.size),
        "validation_accuracy": validation,
        "test_accuracy": accuracy_score(corpus.test.labels, predicted),
        "test_macro_f1": f1_score(corpus.test.labels, predicted, average="macro"),
        "test_accuracy_with_validation_rows": with_all,
        "seconds": time.perf_counter() - began,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
