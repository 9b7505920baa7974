"""A writer behind its cache: the model is loaded only when a text is new."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from feast_fusion.writing.answer import Answer, read_answer
from feast_fusion.writing.answer_cache import AnswerCache
from feast_fusion.writing.cost import Cost
from feast_fusion.writing.identity import WriterIdentity
from feast_fusion.writing.prompt import render_prompt
from feast_fusion.writing.writer import Writer, open_writer

_REFERENCE = 32  # prompts, from the first to the last

Progress = Callable[[int, int], object]


class CachedWriter:
    """Answers of one writer, each text asked about once. Safe for many threads.

    Parameters
    ----------
    identity : of the writer
    folder : where the answers are kept
    """

    def __init__(self, identity: WriterIdentity, folder: Path) -> None:
        self.identity = identity
        self._cache = AnswerCache(folder, identity.writer_id)
        self._writer: Writer | None = None
        self._opening = threading.Lock()

    @property
    def cost(self) -> Cost:
        """Of all texts that this writer ever wrote about."""
        return self._cache.cost()

    def new_texts(self, texts: Sequence[str | None]) -> list[str]:
        """The distinct texts that the model would be asked about, in order; blank ones are none."""
        prompts = {self._prompt(text): text for text in texts if text and not text.isspace()}
        known = self._cache.lookup(list(prompts))
        return [text for prompt, text in prompts.items() if prompt not in known]

    def write(self, texts: Sequence[str | None], progress: Progress | None = None) -> list[Answer]:
        """The answer about each text; a blank text and None have an empty one.

        Answers are kept batch by batch, so that an interrupted run goes on where it was.

        Parameters
        ----------
        progress : called with the new texts done, and the new texts in all

        Raises
        ------
        StoreUnavailableError, SchemaError, MissingExtraError
            As `open_writer` and `Writer.write`, where a text is new.
        """
        attributes = self.identity.attributes
        prompts = [self._prompt(t) if t and not t.isspace() else None for t in texts]
        asked = list(dict.fromkeys(prompt for prompt in prompts if prompt is not None))
        known = self._cache.lookup(asked)
        missing = [prompt for prompt in asked if prompt not in known]
        done = 0
        while done < len(missing):
            writer = self._open(missing)
            part = missing[done : done + writer.batch]
            known |= self._ask(writer, part)
            done += len(part)
            if progress is not None:
                progress(done, len(missing))
        read = {prompt: read_answer(known[prompt], attributes) for prompt in asked}
        empty = Answer.empty(attributes)
        return [empty if prompt is None else read[prompt] for prompt in prompts]

    def _ask(self, writer: Writer, prompts: Sequence[str]) -> dict[str, str]:
        with self._cache.lock:
            known = self._cache.lookup(prompts)  # another process may have asked meanwhile
            missing = [prompt for prompt in prompts if prompt not in known]
            if missing:
                began = time.perf_counter()
                answers = dict(zip(missing, writer.write(missing), strict=True))
                self._cache.store(answers, time.perf_counter() - began)
                known |= {prompt: answer.text for prompt, answer in answers.items()}
        return known

    def _open(self, prompts: Sequence[str]) -> Writer:
        """The model; of the first prompts that it ever gets some are its reference ever after."""
        with self._opening:
            if self._writer is None:
                some = prompts[:: -(-len(prompts) // _REFERENCE)]
                self._writer = open_writer(self.identity, self._cache.reference(some))
            return self._writer

    def _prompt(self, text: str) -> str:
        identity = self.identity
        return render_prompt(identity.prompt, identity.attributes, text, identity.max_characters)
