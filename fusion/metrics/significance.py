"""How far the mean of a metric can be trusted, and whether two models differ by more than chance.

Per model and metric over the pictures: mean, median, standard error, and the 95 % interval of the mean by the
percentile bootstrap (Efron, Annals of Statistics 7(1), 1979). Two models on the same pictures: Wilcoxon's signed-rank
test (Biometrics Bulletin 1(6), 1945), with Holm's correction (Scand. J. Statist. 6(2), 1979) for all the tests of one
table. Over metrics: the mean of a model's ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
CHUNK = 500  # resamples at once: their weights are CHUNK x pictures

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]  # model -> picture -> metric -> value


def table(scores: Scores, directions: Mapping[str, bool | None], reference: str) -> dict[str, dict]:
    """All of it for one data set: {model: row}.

    scores: model -> picture -> metric -> value, which may be nan or inf where a metric is undefined.
    directions: metric -> whether higher is better; None where neither direction is.
    reference: the model that the others are tested against, on the pictures that both have.
    A row holds `mean`, `median`, `standard_error`, `interval` and `p` (Holm's) by metric, None where there is none;
    `undefined`: how many values a metric's statistics leave out; `rank`: mean rank over the metrics, 1 is best.
    """
    rows = {model: describe(list(pictures.values()), list(directions)) for model, pictures in scores.items()}
    tests = {
        (model, metric): signed_rank(*_paired(pictures, scores[reference], metric))
        for model, pictures in scores.items()
        if model != reference and reference in scores
        for metric in directions
    }
    adjusted = holm(tests)
    ranks = mean_ranks({model: row["mean"] for model, row in rows.items()}, directions)
    for model, row in rows.items():
        row["p"] = {metric: adjusted.get((model, metric)) for metric in directions}
        row["rank"] = ranks[model]
    return rows


# --- one model --------------------------------------------------------------------------------------------------------


def describe(pictures: Sequence[Mapping[str, float]], metrics: Sequence[str]) -> dict[str, dict]:
    """{statistic: {metric: value}} over pictures, leaving out where a metric is undefined."""
    row = {name: {} for name in ("mean", "median", "standard_error", "interval", "undefined")}
    columns = {m: [p[m] for p in pictures if math.isfinite(p[m])] for m in metrics}
    intervals = bootstrap(columns)
    for metric, values in columns.items():
        n = len(values)
        row["mean"][metric] = float(np.mean(values)) if n else None
        row["median"][metric] = float(np.median(values)) if n else None
        row["standard_error"][metric] = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else None
        row["interval"][metric] = intervals[metric]
        if n < len(pictures):
            row["undefined"][metric] = len(pictures) - n
    return row


def bootstrap(columns: Mapping[str, Sequence[float]]) -> dict[str, list[float] | None]:
    """The 95 % interval [low, high] of each column's mean over resamples with replacement; None for less than two.

    The same seed every time, so that a table repeats; columns of one length share their resamples.
    """
    found: dict[str, list[float] | None] = dict.fromkeys(columns)
    for n in {len(values) for values in columns.values() if len(values) > 1}:
        values = {name: np.array(column, dtype=np.float64) for name, column in columns.items() if len(column) == n}
        means: dict[str, list[np.ndarray]] = {name: [] for name in values}
        for weights in _resamples(n):
            for name, column in values.items():  # one by one: the last digit must not depend on the neighbours
                means[name].append(weights @ column)
        quantiles = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        found |= {name: np.quantile(np.concatenate(chunks), quantiles).tolist() for name, chunks in means.items()}
    return found


def _resamples(n: int) -> Iterator[np.ndarray]:
    """(CHUNK, n) arrays: how much of the mean each of n pictures makes up in each resample."""
    random = np.random.default_rng(SEED)
    for _ in range(RESAMPLES // CHUNK):
        drawn = random.integers(0, n, (CHUNK, n)) + n * np.arange(CHUNK)[:, None]
        yield np.bincount(drawn.ravel(), minlength=CHUNK * n).reshape(CHUNK, n) / n


# --- several models ---------------------------------------------------------------------------------------------------


def _paired(ours: Mapping[str, Mapping[str, float]], theirs: Mapping[str, Mapping[str, float]], metric: str):
    """The metric's values on the pictures where both models have one."""
    both = [(ours[name][metric], theirs[name][metric]) for name in ours if name in theirs]
    both = [pair for pair in both if all(map(math.isfinite, pair))]
    return [a for a, _ in both], [b for _, b in both]


def signed_rank(x: Sequence[float], y: Sequence[float]) -> float | None:
    """p of Wilcoxon's two-sided signed-rank test of pairs; 1 where none differs, None without pairs."""
    from scipy.stats import wilcoxon  # half a second, which a process that only scores need not spend

    if not len(x):
        return None
    differences = np.subtract(x, y)
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(tests: Mapping[object, float | None]) -> dict[object, float | None]:
    """p values corrected for being so many: the k-th smallest of m times m - k + 1, never falling, at most 1."""
    known = sorted((p, key) for key, p in tests.items() if p is not None)
    adjusted, highest = dict.fromkeys(tests), 0.0
    for k, (p, key) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - k)))
        adjusted[key] = highest
    return adjusted


def mean_ranks(
    means: Mapping[str, Mapping[str, float | None]], directions: Mapping[str, bool | None]
) -> dict[str, float | None]:
    """{model: mean over the metrics of its rank among the models}, 1 is best; equal means share their ranks' mean.

    Metrics without a better direction, or without a mean for some model, do not count; None where none is left.
    """
    from scipy.stats import rankdata

    ranks: list[np.ndarray] = []
    for metric, higher_is_better in directions.items():
        values = [means[model][metric] for model in means]
        if higher_is_better is not None and None not in values:
            ranks.append(rankdata(np.negative(values) if higher_is_better else values))
    if not ranks:
        return dict.fromkeys(means)
    return dict(zip(means, np.mean(ranks, axis=0).tolist(), strict=True))
