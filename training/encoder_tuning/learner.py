"""What an encoder learns from: the loss of a step, by its number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.encoder_tuning.adapted_network import AdaptedNetwork
from training.encoder_tuning.choice_texts import ChoiceTexts
from training.encoder_tuning.losses import choice_loss, nested_loss
from training.encoder_tuning.masked_language import MaskedLanguage
from training.encoder_tuning.settings import TuningSettings
from training.encoder_tuning.slate import Questions, Slate, draw_slate

_TEXTS_OF_A_STEP = 32
_MASKED, _CHOICES = 0, 1


@dataclass(frozen=True)
class Learner:
    """A network and its material. All chance of a step follows from the seed and its number."""

    network: AdaptedNetwork
    texts: ChoiceTexts
    settings: TuningSettings
    seed: int

    def masked_loss(self, language: MaskedLanguage, number: int) -> Tensor:
        """Nats of a hidden word of item texts."""
        rng, known = np.random.default_rng((self.seed, number, _MASKED)), self.texts.known
        drawn = rng.choice(len(known), min(_TEXTS_OF_A_STEP, len(known)), replace=False)
        return language.loss([known[at] for at in drawn], int(rng.integers(2**31)))

    def choice_loss(self, number: int) -> Tensor:
        """Nats of a choice of a slate, the mean of both kinds of questions, at every width."""
        settings = self.settings
        rng = np.random.default_rng((self.seed, number, _CHOICES))
        slate = draw_slate(
            self.texts.choices,
            rng,
            size=settings.slate,
            behaviours=settings.behaviours,
            n_together=settings.n_together,
        )
        texts = [self.texts.items[version] for version in slate.version]
        items = self.network.encode([_thinned(text, settings.forget, rng) for text in texts])
        told = self.texts.behaviours(slate.drawn)
        has_text = [at for at, text in enumerate(told) if text]
        behaviours = self.network.encode([told[at] for at in has_text], "behaviour")

        def loss(vectors: Tensor) -> Tensor:
            return self._loss(vectors[: len(items)], vectors[len(items) :], slate, has_text)

        return nested_loss(torch.cat([items, behaviours]), settings.widths, loss)

    def _loss(
        self, items: Tensor, behaviours: Tensor, slate: Slate, has_text: Sequence[int]
    ) -> Tensor:
        temperature, found = self.settings.temperature, []
        if len(behaviours):
            answer, is_hidden = self._right(slate.by_behaviour)
            found.append(
                choice_loss(
                    behaviours,
                    items,
                    answer[has_text],
                    is_hidden[has_text],
                    temperature=temperature,
                    log_share=self._tensor(slate.log_share),
                )
            )
        if len(slate.weights):
            liked = normalize(self._tensor(slate.weights) @ items, dim=1)
            right = self._right(slate.together)
            found.append(choice_loss(liked, items, *right, temperature=temperature))
        return torch.stack(found).mean() if found else items.sum() * 0

    def _right(self, questions: Questions) -> tuple[Tensor, Tensor]:
        return self._tensor(questions.answer), self._tensor(questions.is_hidden)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.network.device)


def _thinned(text: str, share: float, rng: np.random.Generator) -> str:
    """The text without about that share of its words."""
    words = np.array(text.split(), dtype=object)
    return " ".join(words[rng.random(len(words)) >= share]) or text
