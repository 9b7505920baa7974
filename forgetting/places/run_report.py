"""The page of the last run, which shows what some users had."""

from forgetting.case import Case


def erase(case: Case) -> int:
    """Remove the page, whoever it shows: the next run makes it anew. How many there were."""
    path = case.workspace.report
    n_pages = int(path.is_file())
    path.unlink(missing_ok=True)
    return n_pages
