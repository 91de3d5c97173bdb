"""Tests of many requests at once: what is batched, what waits, what is refused, and that no request harms another."""

import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from galleries import opened, uploaded
from PIL import Image

from crossbatch.encoder import Encoder
from crossbatch.errors import DataError
from crossbatch.index import Gallery, pictures
from crossbatch.web.app import create_app
from crossbatch.web.limits import Limits

TOKEN = "a token of thirty-two characters"


class Waiting:
    """A model that gives no answer until it is allowed to."""

    def __init__(self) -> None:
        self.may, self.passes = threading.Event(), list[int]()

    def embed(self, images: list[Image.Image], *, batch_size: int = 64) -> np.ndarray:
        self.passes.append(len(images))
        self.may.wait(10)
        return np.eye(1, 16, dtype=np.float32).repeat(len(images), 0)


def test_queries_that_come_together_go_together_and_too_many_are_told(home: Path) -> None:
    model, answers = Waiting(), list[int]()
    limits = Limits(seconds=20, waiting=6)
    with TestClient(create_app(opened(home / "gallery"), lambda: model, limits), "http://localhost") as client:

        def ask(number: int) -> None:
            image = Image.new("RGB", (9, 9), (number, 0, 0))
            answers.append(client.post("/search", files=uploaded(image)).status_code)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            if len(answers) == 3:
                break
            threading.Event().wait(0.05)
        assert answers == [429] * 3
        model.may.set()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [200] * 6 + [429] * 3
    assert sum(model.passes) == 6
    assert len(model.passes) < 6


def test_a_search_that_takes_too_long_is_given_up(home: Path) -> None:
    model = Waiting()
    with TestClient(
        create_app(opened(home / "gallery"), lambda: model, Limits(seconds=0.3)), "http://localhost"
    ) as client:
        answer = client.post("/search", files=uploaded(Image.new("RGB", (9, 9))))
        assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
        model.may.set()


def test_what_needs_no_token_is_small_and_takes_no_turn(home: Path, model: Encoder) -> None:
    limits = Limits(bytes=10**6, waiting=1)
    app = create_app(opened(home / "gallery"), lambda: model, limits, token=TOKEN, hosts=())
    guard_busy = {"authorization": f"Bearer {TOKEN}"}
    with TestClient(app, "http://192.0.2.1") as client:
        for path in ("/session", "/", "/page/x"):
            assert client.post(path, content=b"x" * 100_000).status_code == 413, path
        assert client.post("/search", content=b"x" * 100_000, headers=guard_busy).status_code == 422
        assert client.post("/session", json={"token": TOKEN}).status_code == 204


def test_searches_by_id_take_turns_and_the_token_none(home: Path) -> None:
    model, answers = Waiting(), list[int]()
    limits = Limits(seconds=20, waiting=1)
    with TestClient(create_app(opened(home / "gallery"), lambda: model, limits), "http://localhost") as client:
        thread = threading.Thread(
            target=lambda: answers.append(
                client.post("/search", files=uploaded(Image.new("RGB", (9, 9)))).status_code,
            )
        )
        thread.start()
        while not model.passes:
            threading.Event().wait(0.02)
        one = opened(home / "gallery").rows.ids[0]
        assert client.get(f"/similar/{one}").status_code == 429
        assert client.post("/session", json={"token": "any"}).status_code == 204
        model.may.set()
        thread.join()
        assert client.get(f"/similar/{one}").status_code == 200
    assert answers == [200]


def test_two_originals_are_converted_at_a_time(home: Path, model: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most = list[int](), list[int]()

    def convert(content: bytes) -> None:
        busy.append(1)
        most.append(len(busy))
        threading.Event().wait(0.1)
        busy.pop()

    monkeypatch.setattr(pictures, "to_show", convert)
    with TestClient(create_app(opened(home / "gallery"), lambda: model), "http://localhost") as client:
        asked = [f"/images/{one}" for one in opened(home / "gallery").rows.ids[:6]]
        threads = [threading.Thread(target=client.get, args=(path,)) for path in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(most) == 6
    assert max(most) == 2


class Choosy:
    """A model that fails on images wider than ten pixels, with its own message for a width of 13."""

    def __init__(self) -> None:
        self.may = threading.Event()

    def embed(self, images: list[Image.Image], *, batch_size: int = 64) -> np.ndarray:
        self.may.wait(10)
        if any(image.width == 13 for image in images):
            raise DataError("this image is a riddle")
        if any(image.width > 10 for image in images):
            raise RuntimeError("not enough memory\nin a long trace")
        return np.eye(1, 16, dtype=np.float32).repeat(len(images), 0)


def test_an_image_that_fails_costs_no_other(home: Path) -> None:
    model, answers = Choosy(), dict[int, tuple[int, dict[str, str]]]()
    with TestClient(create_app(opened(home / "gallery"), lambda: model), "http://localhost") as client:

        def ask(width: int) -> None:
            answer = client.post("/search", files=uploaded(Image.new("RGB", (width, 9))))
            answers[width] = answer.status_code, answer.json()

        threads = [threading.Thread(target=ask, args=(width,)) for width in (7, 8, 12, 13)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.5)
        model.may.set()
        for thread in threads:
            thread.join()
    assert {width: status for width, (status, _) in answers.items()} == {7: 200, 8: 200, 12: 503, 13: 415}
    assert "could not be embedded (not enough memory):" in answers[12][1]["error"]
    assert answers[13][1] == {"error": "this image is a riddle", "code": "not_an_image"}


def test_searches_that_come_together_are_one_search(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one gets the same hits as alone."""
    passes, may, search = list[int](), threading.Event(), Gallery.search

    def counted(self: Gallery, queries: np.ndarray, *given: object, **named: object) -> object:
        passes.append(len(queries))
        may.wait(10)
        return search(self, queries, *given, **named)

    app = create_app(opened(home / "gallery"), Waiting, Limits(seconds=20))
    with TestClient(app, "http://localhost") as client:
        ids = opened(home / "gallery").rows.ids[:5]
        may.set()
        alone = {one: client.get(f"/similar/{one}").json()["hits"] for one in ids}
        may.clear()
        monkeypatch.setattr(Gallery, "search", counted)
        together: dict[str, object] = {}

        def ask(one: str) -> None:
            together[one] = client.get(f"/similar/{one}").json()["hits"]

        threads = [threading.Thread(target=ask, args=(one,)) for one in ids]
        threads[0].start()
        while not passes:
            threading.Event().wait(0.01)
        for thread in threads[1:]:
            thread.start()
        threading.Event().wait(0.5)
        may.set()
        for thread in threads:
            thread.join()
    assert passes == [1, 4]
    assert together == alone
