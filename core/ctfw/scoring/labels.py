"""Scores of 0/1 label matrices: pure functions of additive counts.

`counts` (N, 4 * L) holds TP, FP, FN, TN of each label side by side, so that any weighted sum of
rows gives the scores of a resample. CRG: arXiv 2505.17167; with pooled sensitivity Se and
specificity Sp it reduces to 1 / (5 - 2 (Se + Sp)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def label_counts(reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """(N, L) 0/1 twice -> (N, 4 * L) float64: TP, FP, FN, TN blocks. Raises ValueError on shape."""
    if reference.shape != generated.shape or reference.ndim != 2:
        raise ValueError(f"labels of shape {generated.shape} against {reference.shape}")
    y, z = reference.astype(bool), generated.astype(bool)
    return np.concatenate([y & z, ~y & z, y & ~z, ~y & ~z], axis=1).astype(np.float64)


def split_counts(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(..., 4 * L) -> TP, FP, FN, TN, each (..., L)."""
    size = sums.shape[-1] // 4
    tp, fp, fn, tn = (sums[..., i * size : (i + 1) * size] for i in range(4))
    return tp, fp, fn, tn


def mean_statistics(columns: Sequence[np.ndarray]) -> np.ndarray:
    """K columns (N,) with NaN where a case has no value -> (N, 2 * K): values, then whether."""
    table = np.stack([np.asarray(column, float) for column in columns], axis=1)
    return np.concatenate([np.nan_to_num(table), ~np.isnan(table)], axis=1)


def mean_values(sums: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """(..., 2 * K) sums of `mean_statistics` -> the mean of each column over its cases."""
    means = ratio(sums[..., : len(names)], sums[..., len(names) :])
    return {name: means[..., i] for i, name in enumerate(names)}


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where the bottom is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def f1_scores(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN); NaN where the reference has no positive."""
    return np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), np.nan)


def mean_defined(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the last axis of the values that are not NaN; NaN where none is."""
    valid = ~np.isnan(values)
    weight = valid * (1.0 if weights is None else weights)
    return ratio(np.where(valid, values * weight, 0.0).sum(-1), weight.sum(-1))


def report_recall(counts: np.ndarray) -> np.ndarray:
    """(N, 4 * L) counts -> (N,) recall of each report; NaN where its reference has no positive."""
    tp, _, fn, _ = split_counts(counts)
    return ratio(tp.sum(-1), (tp + fn).sum(-1))


def report_jaccard(counts: np.ndarray) -> np.ndarray:
    """(N, 4 * L) counts -> (N,) shared over all positives of a report; 1 where neither has one.

    Godbole and Sarawagi (2004) call its mean the accuracy of a multi-label classifier.
    """
    tp, fp, fn, _ = (part.sum(-1) for part in split_counts(counts))
    return np.where(tp + fp + fn > 0, ratio(tp, tp + fp + fn), 1.0)


def coverage_values(sums: np.ndarray) -> dict[str, np.ndarray]:
    """(..., 4 * L + 2) sums -> the coverages; the last two columns are recall per report and 1.

    coverage         found positives over all positives (pooled recall of findings)
    coverage-report  mean recall of the reports that have a positive
    coverage-macro   mean recall of the labels that have a positive
    """
    tp, _, fn, _ = split_counts(sums[..., :-2])
    return {
        "coverage": ratio(tp.sum(-1), (tp + fn).sum(-1)),
        "coverage-report": mean_values(sums[..., -2:], ("",))[""],
        "coverage-macro": mean_defined(ratio(tp, tp + fn)),
    }


def coverage_statistics(reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """(N, 4 * L + 2): the counts, then the report's recall and whether it has a positive."""
    counts = label_counts(reference, generated)
    return np.concatenate([counts, mean_statistics([report_recall(counts)])], axis=1)


def accuracy_values(sums: np.ndarray) -> dict[str, np.ndarray]:
    """(..., 4 * L) sums -> accuracy and what must stand beside it.

    Accuracy is label-wise (1 - Hamming loss): a report that denies everything scores high in it,
    so specificity, the F1s and CRG go with it. Macro F1 leaves out labels without a reference
    positive; weighted F1 weighs labels by their positives.
    """
    tp, fp, fn, tn = split_counts(sums)
    tps, fps, fns, tns = (part.sum(-1) for part in (tp, fp, fn, tn))
    sensitivity, specificity = ratio(tps, tps + fns), ratio(tns, tns + fps)
    f1 = f1_scores(tp, fp, fn)
    reports = ratio(sums.sum(-1), np.asarray(sums.shape[-1] // 4))
    return {
        "accuracy": ratio(tps + tns, sums.sum(-1)),
        "balanced-accuracy": (sensitivity + specificity) / 2,
        "specificity": specificity,
        "precision": ratio(tps, tps + fps),
        "micro-f1": f1_scores(tps, fps, fns),
        "macro-f1": mean_defined(f1),
        "weighted-f1": mean_defined(f1, tp + fn),
        "crg": crg(sensitivity, specificity),
        "hallucination-rate": ratio(fps, tps + fps),
        "positives-generated": ratio(tps + fps, reports),
        "positives-reference": ratio(tps + fns, reports),
    }


def crg(sensitivity: np.ndarray, specificity: np.ndarray) -> np.ndarray:
    """1 / (5 - 2 (Se + Sp)), from 0.2 (all wrong) over 1/3 (label-independent) to 1."""
    return 1.0 / (5.0 - 2.0 * (sensitivity + specificity))


def per_label(
    reference: np.ndarray, generated: np.ndarray, names: Sequence[str] = ()
) -> list[dict[str, float | int | str]]:
    """One row per label: label, support, generated, coverage, precision, f1, specificity."""
    tp, fp, fn, tn = split_counts(label_counts(reference, generated).sum(0))
    columns: Mapping[str, np.ndarray] = {
        "coverage": ratio(tp, tp + fn),
        "precision": ratio(tp, tp + fp),
        "f1": f1_scores(tp, fp, fn),
        "specificity": ratio(tn, tn + fp),
    }
    return [
        {"label": names[i] if names else f"label {i + 1}"}
        | {"support": int(tp[i] + fn[i]), "generated": int(tp[i] + fp[i])}
        | {key: float(values[i]) for key, values in columns.items()}
        for i in range(len(tp))
    ]
