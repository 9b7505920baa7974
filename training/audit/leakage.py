"""The leakage audit: every feature of a training set recomputed the slow way, and what differs.

A value that the slow path does not give is traced to the source rows that hold it; the times of
these rows say what went wrong. Views that had nothing yet are looked at by label (`absence`). Two
checks need no source: a column that tells the label almost by itself, and examples on both sides of
a split.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from feast import FeatureService, FeatureStore, OnDemandFeatureView
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from feast_fusion.column_names import feature_column, logical_name
from feast_fusion.errors import schema_error
from feast_fusion.feature_service import vector_views
from feast_fusion.training_set import TrainingSet
from intake.context import is_context
from intake.split_settings import BY_TIME, SplitConfig
from training.audit.absence import BY_LABEL, NOT_YET, find_absences
from training.audit.source_history import SourceHistory
from training.audit.view_audit import Difference, ViewAudit
from training.ranker.columns import is_collaborative, is_outcome
from training.spine import SPINE_COLUMNS
from training.split import Split, split_rows
from transformations.names import EVENT_ORDER

KINDS = (
    "future",
    "own instant",
    "expired",
    "created late",
    "encoder",
    "mismatch",
    BY_LABEL,
    NOT_YET,
    "suspicious",
    "split overlap",
)
_MIN_AUC_ROWS = 100


@dataclass(frozen=True)
class Finding:
    """One kind of leak in one feature.

    Attributes
    ----------
    kind : one of `KINDS`
    feature : its name in the training set; for `split overlap` the splits
    count : rows it was found in
    example : one of these rows in words
    """

    kind: str
    feature: str
    count: int
    example: str


@dataclass(frozen=True)
class LeakageReport:
    """The result of an audit; clean when there is no finding.

    Attributes
    ----------
    n_rows_checked, n_rows : how many rows were recomputed, of how many
    n_features : features recomputed per row
    findings : by kind, then feature
    notes : what could not be checked, and why
    """

    n_rows_checked: int
    n_rows: int
    n_features: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def lines(self) -> list[str]:
        """For people: one line, then a table of the findings and the notes, if there are any."""
        noun = "finding" if len(self.findings) == 1 else "findings"
        title = (
            f"Leakage audit: {len(self.findings)} {noun} in {self.n_rows_checked:,} of "
            f"{self.n_rows:,} rows x {self.n_features} features."
        )
        return [title, *self._table(), *(f"Note: {note}" for note in self.notes)]

    def to_dict(self) -> dict[str, Any]:
        """For programs: the fields, with `is_clean`."""
        return {"is_clean": self.is_clean, **asdict(self)}

    def _table(self) -> list[str]:
        if not self.findings:
            return []
        width = max(len("feature"), *(len(finding.feature) for finding in self.findings))
        return [
            f"{'kind':15}{'feature':{width}}{'rows':>9}  example",
            *(f"{f.kind:15}{f.feature:{width}}{f.count:>9,}  {f.example}" for f in self.findings),
        ]


def audit_training_set(
    training_set: TrainingSet,
    store: FeatureStore,
    service: FeatureService,
    *,
    n_rows: int = 2000,
    seed: int = 0,
    suspicious_auc: float = 0.95,
    split: Split | None = None,
    how: SplitConfig = BY_TIME,
) -> LeakageReport:
    """What in `training_set` its labels could not have known, after the service's sources.

    Features of `n_rows` random rows are recomputed; columns' AUCs and splits are of all rows.

    Parameters
    ----------
    training_set : with the names that `build_training_set` gives
    n_rows : 0 for all rows
    suspicious_auc : a scalar feature is reported whose AUC against the label, or 1 - AUC, is at
        least this, over at least 100 rows that have the feature
    split : default: as `how` has it
    how : `[split]`; where it is not by time, rows may be later than the first of a later split

    Raises
    ------
    SchemaError
        The training set lacks a feature of the service, or a source lacks a column.
    StoreUnavailableError
        A source is gone.
    """
    rows = _sample(len(training_set), n_rows, seed)
    strictly = bool(getattr(store.config.offline_store, "strictly_before", False))
    histories, notes = _histories(store, service)
    findings: list[Finding] = list(_other_encoders(service, len(training_set)))
    audited: list[str] = []
    for history in histories:
        audit = ViewAudit(training_set, history, rows, strictly)
        for feature, name in _features(history, training_set).items():
            findings += _count(name, audit.differences(feature, name), training_set.table)
            audited.append(name)
        findings += (Finding(*found) for found in find_absences(audit, training_set))
    keys = {key for history in histories for key in history.keys}
    keys |= {name for name in training_set.names if is_outcome(name)}
    findings += _suspicious(training_set.table, keys, suspicious_auc)
    findings += _split_overlaps(training_set.table, split, how)
    findings.sort(key=lambda finding: (KINDS.index(finding.kind), finding.feature))
    unknown = [n for n in training_set.names if n not in {*audited, *keys, *SPINE_COLUMNS}]
    # What `Collaboration` computes is of audited versions and lists; the suite recomputes it. A
    # context is of the request itself.
    unknown = [name for name in unknown if not is_collaborative(name) and not is_context(name)]
    notes += [f"{n} is no feature of the service and was not recomputed." for n in unknown]
    return LeakageReport(len(rows), len(training_set), len(audited), tuple(findings), tuple(notes))


def _sample(n: int, wanted: int, seed: int) -> NDArray[np.int64]:
    if wanted <= 0 or wanted >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))


def _histories(
    store: FeatureStore, service: FeatureService
) -> tuple[list[SourceHistory], list[str]]:
    histories, notes = [], []
    for projection in service.feature_view_projections:
        view = store.registry.get_any_feature_view(projection.name, store.project)
        if isinstance(view, OnDemandFeatureView):
            notes.append(f"{projection.name} is computed on demand and was not recomputed.")
        else:
            histories.append(SourceHistory(view, projection, Path(store.config.repo_path)))
    return histories, notes


def _features(history: SourceHistory, training_set: TrainingSet) -> dict[str, str]:
    """Features of a view and their names in the training set."""
    view = history.projection.name_to_use()
    names = {
        f.name: logical_name(feature_column(view, f.name)) for f in history.projection.features
    }
    for name in names.values():
        if name not in training_set.names:
            raise schema_error(
                "training set",
                got=f"columns {sorted(training_set.names)}",
                expected=f"also {name!r}, a feature of the service",
                remedy="Name the service it was built for, or build it again.",
            )
    return names


def _other_encoders(service: FeatureService, n_rows: int) -> Iterator[Finding]:
    """Views whose name has another encoder id than the service, or than most of its views."""
    encoders = vector_views(service)
    most_common = Counter(encoder for _, encoder in encoders).most_common(1)
    expected = service.tags.get("encoder_id") or (most_common[0][0] if most_common else "")
    for view, found in encoders:
        if found != expected:
            example = f"its vectors are of {found}, the service is of {expected}"
            yield Finding("encoder", view, n_rows, example)


def _count(feature: str, found: Iterator[Difference], table: pa.Table) -> Iterator[Finding]:
    """One finding per kind, with the first row as its example."""
    by_kind: dict[str, list[Difference]] = {}
    for difference in found:
        by_kind.setdefault(difference.kind, []).append(difference)
    for kind, differences in by_kind.items():
        first = differences[0]
        who = [n for n in SPINE_COLUMNS[:2] if n in table.column_names]
        names = ", ".join(str(table.column(name)[first.row]) for name in who)
        when = table.column("event_timestamp")[first.row].as_py()
        example = f"row {first.row} ({names}, {when:%Y-%m-%d %H:%M:%S.%f}): {first.text}"
        yield Finding(kind, feature, len(differences), example)


def _suspicious(table: pa.Table, keys: set[str], threshold: float) -> Iterator[Finding]:
    """Columns of numbers or booleans that order the examples almost as the label does."""
    if "label" not in table.column_names:
        return
    labels = table.column("label").cast(pa.float64()).to_numpy()
    for field in table.schema:
        kind = field.type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if field.name in {*keys, *SPINE_COLUMNS} or not (is_number or pa.types.is_boolean(kind)):
            continue
        values = table.column(field.name).cast(pa.float64(), safe=False).to_numpy()
        usable = np.isfinite(values) & np.isfinite(labels)
        yield from _telling_absence(field.name, labels, np.isnan(values), threshold)
        if usable.sum() < _MIN_AUC_ROWS or len(np.unique(labels[usable])) != 2:
            continue
        positive = labels[usable] == labels[usable].max()
        auc = float(roc_auc_score(positive, values[usable]))
        if max(auc, 1 - auc) >= threshold:
            example = f"AUC {auc:.4f} against the label, by itself"
            yield Finding("suspicious", field.name, int(usable.sum()), example)


def _telling_absence(
    name: str, labels: NDArray[np.float64], absent: NDArray[np.bool_], threshold: float
) -> Iterator[Finding]:
    positive = labels > 0
    if min(positive.sum(), (~positive).sum(), len(labels) - _MIN_AUC_ROWS) < 1:
        return
    auc = (1 + abs(float(absent[positive].mean() - absent[~positive].mean()))) / 2
    if auc >= threshold:
        example = f"AUC {auc:.4f} against the label, by its absence alone"
        yield Finding("suspicious", name, int(absent.sum()), example)


def _split_overlaps(table: pa.Table, split: Split | None, how: SplitConfig) -> Iterator[Finding]:
    """Rows and examples that two splits share, and rows later than the first of a later split."""
    if not set(EVENT_ORDER) <= set(table.column_names):
        return
    split = split or split_rows(table, how)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    examples = pl.DataFrame(table.select(list(EVENT_ORDER)))
    times = examples["event_timestamp"].to_physical().to_numpy()
    for earlier, later in (("train", "validation"), ("train", "test"), ("validation", "test")):
        a, b = parts[earlier], parts[later]
        name = f"{earlier} and {later}"
        shared = examples[a].join(examples[b], on=list(EVENT_ORDER), how="semi", nulls_equal=True)
        if len(shared):
            user, item, when = (str(shared[c][0]) for c in ("user_id", "item_id", EVENT_ORDER[0]))
            example = f"both hold user {user}, item {item}, {when}"
            yield Finding("split overlap", name, len(shared), example)
        if how.by != "time" or not len(a) or not len(b):
            continue
        if after := int((times[a] > times[b].min()).sum()):
            example = f"{earlier} has rows later than the first of {later}"
            yield Finding("split overlap", name, after, example)
