"""Masked language modelling: a model reads the data set's texts, and guesses words that are hidden.

Devlin 2018, arXiv:1810.04805, section 3.1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoTokenizer, DataCollatorForLanguageModeling
from transformers.utils import logging as transformers_logging

from feast_fusion.encoding.model_loading import failures_explained, no_progress_bar
from feast_fusion.errors import schema_error
from training.encoder_tuning.adapted_network import AdaptedNetwork

_HIDDEN_SHARE = 0.15


class MaskedLanguage(nn.Module):
    """A head that guesses hidden words from the token states of a network.

    The head's matrix of words is the network's own; the rest is the model's, or new where its
    authors left it out.

    Raises
    ------
    SchemaError
        The model reads from left to right, and so knows no hidden word.
    """

    def __init__(self, network: AdaptedNetwork) -> None:
        super().__init__()
        folder = network.modules.transformer.folder
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._network = network
        if self._tokenizer.mask_token_id is None:
            raise _no_words_hidden(folder)
        with failures_explained(folder), no_progress_bar(), _no_load_report():
            try:
                model = AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True)
            except ValueError as error:
                raise _no_words_hidden(folder) from error
        words = network.transformer.get_input_embeddings().weight
        setattr(model, model.base_model_prefix, network.transformer)
        model.get_output_embeddings().weight = words
        self.model = model.to(network.device).eval()
        self._hide = DataCollatorForLanguageModeling(
            self._tokenizer, mlm=True, mlm_probability=_HIDDEN_SHARE
        )

    @property
    def learned(self) -> dict[str, nn.Parameter]:
        """The weights that learn: those of the network, and the head's without the words."""
        words = self.model.get_output_embeddings().weight
        own = {id(weight) for weight in self._network.transformer.parameters()} | {id(words)}
        head = {
            f"head.{name}": weight
            for name, weight in self.model.named_parameters()
            if id(weight) not in own
        }
        return self._network.learned | head

    def loss(self, texts: Sequence[str], seed: int) -> Tensor:
        """Mean nats of a hidden word; `seed` decides which are hidden."""
        torch.manual_seed(seed)
        limit = self._network.identity.max_tokens
        rows = self._tokenizer(
            list(texts), truncation=True, max_length=limit, return_special_tokens_mask=True
        )
        batch: Any = self._hide([{k: v[at] for k, v in rows.items()} for at in range(len(texts))])
        with self._network.precision():
            found = self.model(**batch.to(self._network.device))
        loss: Tensor = found.loss
        return loss


@contextmanager
def _no_load_report() -> Iterator[None]:
    """A head that is new is no defect: it is about to learn."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _no_words_hidden(folder: object) -> Exception:
    return schema_error(
        f"model {folder}",
        got="a model that has no hidden words",
        expected="one for masked language modelling, such as BERT",
        remedy="Leave masked steps out.",
    )
