"""Trainings that are not finished: what they would go on with has the person in it."""

import shutil

from forgetting.case import Case


def erase(case: Case) -> int:
    """Remove where trainings stand; how many files. Each begins anew when it is run again."""
    workspace, n_files = case.workspace, 0
    for folder in (workspace.checkpoints, workspace.encoder_checkpoints):
        n_files += sum(path.is_file() for path in folder.rglob("*"))
        shutil.rmtree(folder, ignore_errors=True)
    return n_files
