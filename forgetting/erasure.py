"""People forgotten: erased everywhere, until an audit finds nothing, with a receipt for each."""

from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feast_fusion.errors import FeastFusionError
from forgetting.audit.personal_audit import AuditReport, audit_person
from forgetting.case import Case, Surroundings
from forgetting.evidence import gather_evidence
from forgetting.pending_requests import Request, Requests
from forgetting.places.list_of_places import PLACES, count_kept
from intake.workspace import Workspace
from training.model_versions import ModelVersions

_ROUNDS = 3  # events that a service had accepted already may come behind an erasure
_OUT_OF_REACH = (
    "files that feast-fusion backup wrote, and copies of the home",
    "training sets and answers that were written to other places",
    "the data set's own tables: prepare leaves the rows out from now on",
    "models on other hosts, and what logs of other programs say",
)

Told = Callable[[str], object]


class LeftoverError(FeastFusionError):
    """Something is left of a person after everything was erased."""


def complete_requests(place: Surroundings, told: Told = lambda what: None) -> list[Path]:
    """Forget everybody who is to be forgotten; where the receipts are.

    One process does it at a time. One that was killed is completed by the next call, wherever it
    was.

    Parameters
    ----------
    told : called with the name of what is being done

    Raises
    ------
    LeftoverError
        The audit found something; the requests stay.
    FeastFusionError
        A place cannot be reached or read; the requests stay.
    """
    requests = Requests(place.workspace.forgotten)
    with requests.locked():
        case = Case(place, requests, {each.user_id: each for each in requests.pending()})
        if not case.people:
            return []
        _begin(case, told)
        counts: Counter[str] = Counter()
        for _ in range(_ROUNDS):
            for each in PLACES:
                told(each.name)
                counts[each.name] += each.erase(case)
            told("audit")
            reports = {user_id: audit(case, user_id) for user_id in case.people}
            if not any(report.leftovers for report in reports.values()):
                break
        _require_nothing(reports.values())
        return [_close(case, user_id, counts, reports[user_id]) for user_id in case.people]


def audit(case: Case, user_id: str) -> AuditReport:
    """Whether anything is left of one of the people."""
    evidence = case.evidence(user_id)
    keys = [*evidence.writings, *(key for keys in evidence.vectors.values() for key in keys)]
    return audit_person(case.place, user_id, evidence.texts, list(map(bytes.fromhex, keys)))


def _begin(case: Case, told: Told) -> None:
    """Keep what is known of everybody, then let nobody of them in any more."""
    told("evidence")
    for user_id, request in case.people.items():
        if request.evidence is None:
            evidence = dict(gather_evidence(case.workspace, user_id))
            n_rows = count_kept(case.place, user_id)
            case.note(user_id, **evidence | {"n_rows": n_rows})
    for user_id in case.people:
        case.requests.tombstones.add(user_id)


def _require_nothing(reports: Collection[AuditReport]) -> None:
    leftovers = [leftover for report in reports for leftover in report.leftovers]
    if leftovers:
        some = "; ".join(f"{each.place}: {each.where}" for each in leftovers[:5])
        raise LeftoverError(
            f"forget: got {len(leftovers)} places where something is left ({some}), expected none. "
            "Remove what is there, or correct it; then run feast-fusion forget --resume."
        )


def _close(case: Case, user_id: str, counts: Counter[str], report: AuditReport) -> Path:
    digest = case.requests.tombstones.digest(user_id)
    request = case.people[user_id]
    receipt = {
        "person": digest,
        "asked": request.asked,
        "completed": datetime.now(UTC),
        "people_of_this_run": len(case.people),
        "rows_kept": case.evidence(user_id).n_rows,
        "erased_of_this_run": dict(counts),
        "audit": {
            "files": report.n_files,
            "bytes": report.n_bytes,
            "redis_keys": report.n_keys,
            "left_out": report.left_out,
            "found": 0,
        },
        "trained_on": trained_on(case.workspace, request),
        "out_of_reach": _OUT_OF_REACH,
    }
    return case.requests.close(digest, receipt)


def trained_on(workspace: Workspace, request: Request) -> dict[str, Any]:
    """Artifacts that may have been trained on a person: made after the person's first event."""
    first = request.evidence.first_event if request.evidence else None
    if first is None:
        return {"models": [], "tuned_encoder": None}
    models = [each.name for each in ModelVersions(workspace).all() if each.trained >= first]
    tuned = workspace.tuned_encoder
    return {"models": models, "tuned_encoder": str(tuned) if tuned.is_dir() else None}
