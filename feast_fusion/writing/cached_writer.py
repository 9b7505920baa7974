"""A writer behind its cache: the model is loaded only when a text is new."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from feast_fusion.record_cache.record_cache import RecordCache
from feast_fusion.record_cache.record_file import RecordFile
from feast_fusion.writing.answer import Answer, read_answer
from feast_fusion.writing.cost import Cost
from feast_fusion.writing.identity import WriterIdentity
from feast_fusion.writing.model_place import ChatServer
from feast_fusion.writing.prompt import render_prompt
from feast_fusion.writing.writer import Writer, open_writer

_REFERENCE = 32  # prompts, from the first to the last
_REFERENCE_KEY = b"reference"

Progress = Callable[[int, int], object]


class CachedWriter:
    """Answers of one writer, each text asked about once. Safe for many threads and processes.

    Parameters
    ----------
    identity : of the writer
    folder : where the answers are kept
    """

    def __init__(self, identity: WriterIdentity, folder: Path) -> None:
        self.identity = identity
        self._file = RecordFile(folder / f"{identity.writer_id}.sqlite", None)
        self._records = RecordCache(self._file)
        self._writer: Writer | None = None
        self._opening = threading.Lock()

    @property
    def cost(self) -> Cost:
        """Of all texts that this writer ever wrote about."""
        kept = [json.loads(value) for key, value in self._file.all() if key != _REFERENCE_KEY]
        return Cost(
            len(kept),
            sum(answer["n_read_tokens"] for answer in kept),
            sum(answer["n_written_tokens"] for answer in kept),
            sum(answer["seconds"] for answer in kept),
        )

    def new_texts(self, texts: Sequence[str | None]) -> list[str]:
        """The distinct texts that the model would be asked about, in order; blank ones are none."""
        keys = {_key(self._prompt(t)): t for t in texts if t and not t.isspace()}
        known = dict(self._file.read(list(keys)))
        return [text for key, text in keys.items() if key not in known]

    def write(self, texts: Sequence[str | None], progress: Progress | None = None) -> list[Answer]:
        """The answer about each text; a blank text and None have an empty one.

        Answers are kept batch by batch, so that an interrupted run goes on where it was.

        Parameters
        ----------
        progress : called with the new texts done and kept, and the new texts in all

        Raises
        ------
        StoreUnavailableError, SchemaError, MissingExtraError
            As `open_writer` and `Writer.write`, where a text is new.
        """
        prompts = [self._prompt(t) if t and not t.isspace() else None for t in texts]
        asked = {_key(prompt): prompt for prompt in prompts if prompt is not None}
        known = dict(self._file.read(list(asked)))
        new = {key: prompt for key, prompt in asked.items() if key not in known}
        if new:
            known |= self._write_new(new, progress or (lambda done, total: None))
        attributes = self.identity.attributes
        read = {
            asked[key]: read_answer(json.loads(value)["text"], attributes)
            for key, value in known.items()
        }
        empty = Answer.empty(attributes)
        return [empty if prompt is None else read[prompt] for prompt in prompts]

    def kept(self, texts: Sequence[str]) -> dict[bytes, Answer]:
        """What is kept about texts, under the keys of it; the model is asked nothing."""
        keys = [_key(self._prompt(text)) for text in texts if not text.isspace()]
        read = dict(self._file.read(keys))
        attributes = self.identity.attributes
        return {key: read_answer(json.loads(v)["text"], attributes) for key, v in read.items()}

    def remove(self, keys: Sequence[bytes]) -> int:
        """Remove what is kept under keys, and its prompts from the reference; how many."""
        gone = set(keys)
        for key, value in self._file.read([_REFERENCE_KEY]):
            prompts = json.loads(value)
            kept = [prompt for prompt in prompts if _key(prompt) not in gone]
            if len(kept) < len(prompts):
                self._file.remove([key])
                self._file.write({key: json.dumps(kept).encode()}, lambda _: None)
        return self._file.remove(keys)

    def _write_new(self, prompts: dict[bytes, str], progress: Progress) -> dict[bytes, bytes]:
        writer, done = self._open(list(prompts.values())), 0

        def ask(some: list[str]) -> list[bytes]:
            nonlocal done
            if done:
                progress(done, len(prompts))
            began = time.perf_counter()
            answers = writer.write(some)
            each = {"seconds": (time.perf_counter() - began) / len(some)}
            done += len(some)
            return [json.dumps(asdict(answer) | each).encode() for answer in answers]

        made = self._records.make(prompts, ask, writer.batch)
        progress(len(prompts), len(prompts))
        return made

    def _open(self, prompts: Sequence[str]) -> Writer:
        """The model; of the first prompts that it ever gets some are its reference ever after."""
        with self._opening:
            if self._writer is None:
                self._writer = open_writer(self.identity, self._reference(prompts))
            return self._writer

    def _reference(self, prompts: Sequence[str]) -> list[str]:
        """What choices are made beside; none is kept where none is needed: it may be personal."""
        identity = self.identity
        if isinstance(identity.model, ChatServer) or not identity.attributes.choices:
            return []
        some = prompts[:: -(-len(prompts) // _REFERENCE)]
        wanted = {_REFERENCE_KEY: some}
        kept = self._records.make(wanted, lambda new: [json.dumps(new[0]).encode()], 1)
        found: list[str] = json.loads(kept[_REFERENCE_KEY])
        return found

    def _prompt(self, text: str) -> str:
        identity = self.identity
        return render_prompt(identity.prompt, identity.attributes, text, identity.max_characters)


def _key(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
