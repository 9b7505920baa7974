"""Our own /v1/embeddings as the server of a remote encoder: its vectors are those made here."""

from pathlib import Path

import numpy as np
from fastapi import FastAPI, Response

from feast_fusion.encoding.encoder import load_encoder
from intake.workspace import open_workspace
from serving.http.embeddings import TextEncoding
from serving.http.requests import EmbeddingsRequest
from tests.datasets import make_films
from tests.feast_fusion.encoding.embeddings_server import running
from transformations.declared_encoders import identify
from transformations.embedder import Embedder


def test_a_remote_encoder_has_the_vectors_of_our_service(tmp_path: Path) -> None:
    description = make_films(tmp_path, n_users=3, n_items=3, n_events=9)
    workspace = open_workspace(description, tmp_path / "home")
    model = workspace.dataset.encoder.model
    embedder = Embedder(workspace, identify(workspace.dataset).encoder_id)
    app, encoding = FastAPI(), TextEncoding(lambda: embedder)

    @app.post("/v1/embeddings")
    def embeddings(request: EmbeddingsRequest) -> Response:
        encoding.require(request)
        return Response(encoding.answer(request, wait_s=60), media_type="application/json")

    texts = ["a heist", "Heat (1995).", "星际穿越", "a heist"]
    with running(app) as url:
        remote = load_encoder(model, dimension=384, server={"url": url})
        np.testing.assert_allclose(remote.encode(texts), embedder.queries(texts)[0], atol=1e-6)
