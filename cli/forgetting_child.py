"""Forgetting beside a service: a process of its own, which takes no time from answers."""

import logging
import subprocess
import sys
import threading

from forgetting.pending_requests import Requests
from intake.workspace import Workspace
from serving.http.removals import Removal

_COMMAND = "from feast_fusion.command import main; main()"
_log = logging.getLogger(__name__)


class ForgettingChild:
    """Takes requests to forget people, and has the command complete them.

    Processes of one home may do so at once: one completes what is there, the others wait.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._requests = Requests(workspace.forgotten)
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def remove(self, user_id: str) -> Removal:
        """Keep the request, safe from a loss of power, unless it is completed; how far it is."""
        digest = self._requests.tombstones.digest(user_id)
        is_known = user_id in self._requests.tombstones
        if is_known and not self._requests.is_pending(digest):
            receipt = self._requests.receipt(digest)
            n_rows = (receipt or {}).get("rows_kept")
            found = None if n_rows is None else n_rows > 0
            return Removal(status="forgotten", found=found, person=digest, receipt=receipt)
        self._requests.ask(user_id)
        with self._lock:
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="forgetting", daemon=True)
                self._worker.start()
        return Removal(status="accepted", person=digest)

    def _work(self) -> None:
        """Completes what is asked, also what is asked meanwhile; what fails is left to the next."""
        is_done = True
        while is_done and self._requests.pending():
            is_done = self._complete()

    def _complete(self) -> bool:
        workspace = self._workspace
        command = [sys.executable, "-c", _COMMAND, "forget", "--resume"]
        command += ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
        if workspace.tables is not None:
            command += ["--tables", workspace.tables]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            told = done.stderr.strip().splitlines()[-1:]
            _log.error("forgetting: got exit code %d, expected 0: %s", done.returncode, told)
        return done.returncode == 0
