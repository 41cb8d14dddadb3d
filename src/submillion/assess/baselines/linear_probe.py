"""The part "probe": a linear probe on the frozen encoder, to see what the adapter adds to what was there before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from submillion import notices
from submillion.assess.baselines import comparison
from submillion.assess.baselines.comparison import Baseline
from submillion.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    from submillion.assess.run_context import RunContext
    from submillion.data.tokens import Tokens
    from submillion.model.precision import Precision

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FIXED = 0.1
MOST_ITERATIONS = 300
PROBE = Baseline(
    "probe",
    "linear probe",
    "Logistic regression on the encoder as it came, without adapter: the mean over a text's tokens of the last "
    "layer's output, standardised, learnt from the run's own training rows.",
)


def analyse(context: RunContext) -> dict[str, Any]:
    """Train a linear probe on the frozen encoder and compare the run with it.

    Its features are the last hidden states of the encoder without the trained adapter, averaged over the tokens
    of a text (special ones included), as sentence encoders are read (Reimers and Gurevych, "Sentence-BERT",
    arXiv:1908.10084, section 3); texts are cut where the run cuts them. Features are standardised by the training
    rows. The strength C of the logistic regression is chosen on the validation rows, or fixed at 0.1 where the
    run is scored on those. Probing: Alain and Bengio, arXiv:1610.01644.

    Its predictions are kept as `analysis/baselines/probe/<split>.parquet`.

    Returns:
        What `baselines.report` documents; the only baseline is `probe`, and the verdict is about it.

    Raises:
        BadInput: data or encoder are not the run's any more.
    """
    comparison.forget(context, [PROBE])
    measured, absent = _probe(context)
    return comparison.report(context, [PROBE], measured, absent, PROBE.name)


def recheck(context: RunContext, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same object again from the saved predictions of the probe; no encoder is run.

    Copied from `found` is what `baselines.MEASURED` names, and why the probe is absent.

    Raises:
        BadInput: predictions that are not of the run's rows, or a `found` that does not name the probe.
    """
    return comparison.again(context, found, [PROBE], PROBE.name)


def frozen_encoder(context: RunContext) -> Callable[[Sequence[str]], np.ndarray]:
    """Open the run's encoder without its adapter.

    Returns:
        A function of N texts, which gives the mean over tokens of their last hidden states, float32 [N, D].

    Raises:
        BadInput: the encoder is gone or is not the one that the run was trained on.
    """
    from submillion.data.tokens import encode, load_tokenizer
    from submillion.model.loading import load_encoder
    from submillion.model.precision import choose_precision, training_device
    from submillion.model.process_state import seeded
    from submillion.model.trained import check_same_weights
    from submillion.sources.fetch import fetch_encoder

    recorded, recipe = context.manifest["encoder"], context.recipe
    # Held back: what encoder and machine have to say was said when the run was trained.
    with notices.suppressed(), seeded(recipe.seed):
        fetched = fetch_encoder(recorded["source"], recorded.get("revision"), context.progress)
        check_same_weights(context.run, recorded["sha256"], fetched)
        # Not the run's classifier with its adapter switched off: biases that were trained would stay changed.
        loaded = load_encoder(fetched.path, context.labels, str(fetched.path))
        precision = choose_precision(recipe.train.precision)
    encoder = loaded.model.base_model.to(training_device()).eval()
    tokenizer = load_tokenizer(context.run.tokenizer)

    def features(texts: Sequence[str]) -> np.ndarray:
        tokens = encode(tokenizer, list(texts), recipe.data.max_length)
        return _means(encoder, tokens, recipe.train.eval_batch_size, precision, context.progress)

    return features


def _means(encoder: Any, tokens: Tokens, batch_size: int, precision: Precision, progress: bool) -> np.ndarray:
    import numpy as np
    import torch

    from submillion.data.batches import collate, sequential

    device, config = next(encoder.parameters()).device, encoder.config
    features = np.empty((len(tokens), int(config.hidden_size)), dtype=np.float32)
    with (
        torch.inference_mode(),
        precision.context(device.type),
        progress_bar(progress, len(tokens), "reading with the frozen encoder") as advance,
    ):
        for rows in sequential(tokens.lengths, batch_size):
            batch = {
                name: value.to(device) for name, value in collate(tokens, rows, config.pad_token_id).items()
            }
            states = encoder(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][:, :, None]
            features[rows] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).cpu().numpy()
            advance(len(rows))
    return features


def _probe(context: RunContext) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Fit the probe and keep its answers; return what that told, and why it is absent."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, validation, texts = context.train, context.corpus.validation, context.texts(context.split)
    if len(set(train.labels)) < 2:
        return {}, "There is no probe: the training rows are all of one class."
    free = context.split != validation.name and len(validation) > 0
    held = validation.texts if free else []
    began = time.perf_counter()
    read = frozen_encoder(context)
    features = read([*train.texts, *held])
    scaler = StandardScaler().fit(features[: len(train)])
    learnt, held_out = np.split(scaler.transform(features), [len(train)])

    def make(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=MOST_ITERATIONS)

    model, strength = comparison.chosen(
        make,
        (learnt, train.labels),
        (held_out, validation.labels) if free else None,
        STRENGTHS,
        FIXED,
    )
    fitted = time.perf_counter()
    probabilities = model.predict_proba(scaler.transform(read(texts)))
    took = time.perf_counter() - fitted
    comparison.keep(context, PROBE.name, probabilities, model.classes_.tolist())
    size = int(model.coef_.size + model.intercept_.size)
    told = comparison.told(["train"], len(train), size, strength, fitted - began, took)
    return {PROBE.name: told}, None
