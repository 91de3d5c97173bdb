"""Tests of the service: what it finds, what it refuses and how, and that no path or token gets past its checks."""

import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from galleries import indexed, of_tiles, opened, uploaded
from PIL import Image

from crossbatch.encoder import Encoder
from crossbatch.index import Gallery
from crossbatch.index.part_files import Entry
from crossbatch.index.writer import writing
from crossbatch.web.app import create_app
from crossbatch.web.guard import BY_SIGNS
from crossbatch.web.limits import Limits

TOKEN = "a token of thirty-two characters"
LIMITS = Limits(bytes=100_000, pixels=1_000_000, top=50, seconds=20)


@pytest.fixture(scope="module")
def client(home: Path, model: Encoder) -> Iterator[TestClient]:
    with TestClient(create_app(opened(home / "gallery"), lambda: model, LIMITS), "http://localhost") as one:
        yield one


def test_an_upload_finds_what_the_model_says(client: TestClient, home: Path, model: Encoder) -> None:
    image = Image.open(home / "photos" / "class 2" / "3.png").rotate(5)
    found = client.post("/search", files=uploaded(image), data={"top": 6}).json()
    gallery = opened(home / "gallery")
    expected = gallery.search(model.embed([image]), 6)[0]
    assert [hit["id"] for hit in found["hits"]] == [hit.image.id for hit in expected]
    assert [hit["similarity"] for hit in found["hits"]] == pytest.approx([hit.similarity for hit in expected], abs=1e-5)
    assert found["query"] == {"id": None, "name": "photo.png", "width": 16, "height": 16, "box": None}
    assert found["search"] == {"method": "exact", "recall_at_10": 1.0, "images": 24}


@pytest.mark.parametrize(("size", "seen"), [((300, 200), (300, 200)), ((900, 1100), (838, 1024))])
def test_an_upload_that_no_browser_shows_is_given_back_as_jpeg(
    client: TestClient, size: tuple[int, int], seen: tuple[int, int]
) -> None:
    file = io.BytesIO()
    Image.new("CMYK", size, (0, 255, 255, 0)).save(file, "TIFF", compression="tiff_lzw")
    answer = client.post("/previews", files={"image": ("x.tif", file.getvalue())})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    shown = Image.open(io.BytesIO(answer.content))
    assert (shown.format, shown.size) == ("JPEG", seen)
    assert all(abs(a - b) < 10 for a, b in zip(shown.getpixel((9, 9)), (255, 0, 0), strict=True))
    refused = client.post("/previews", files={"image": ("x.tif", b"text")})
    assert (refused.status_code, refused.json()["code"]) == (415, "not_an_image")


def test_an_image_of_the_gallery_by_id_or_by_its_bytes(client: TestClient, home: Path) -> None:
    gallery = opened(home / "gallery")
    one = gallery.rows.ids[5]
    by_id = client.get(f"/similar/{one}", params={"top": 3}).json()
    posted = client.post("/search", data={"id": one, "top": 3}).json()
    content = (home / "photos" / gallery.rows.image(5).path).read_bytes()
    by_bytes = client.post("/search", files={"image": ("x.png", content)}, data={"top": 3}).json()
    assert by_id["hits"] == posted["hits"] == by_bytes["hits"]
    assert by_id["query"]["id"] == by_bytes["query"]["id"] == one
    assert one not in {hit["id"] for hit in by_id["hits"]}


def test_filters_and_a_box(client: TestClient, home: Path, model: Encoder) -> None:
    one = opened(home / "gallery").rows.ids[5]
    wanted = {"id": one, "label": ["class 1", "class 3"], "top": 50}
    found = client.post("/search", data=wanted).json()["hits"]
    assert {hit["label"] for hit in found} == {"class 1", "class 3"}
    least = found[3]["similarity"]
    assert client.post("/search", data={**wanted, "min_similarity": least}).json()["hits"] == found[:4]
    image = Image.open(home / "photos" / opened(home / "gallery").rows.image(5).path).convert("RGB")
    part = client.post("/search", data={"id": one, "box": "0,0,0.5,1", "top": 50}).json()
    expected = opened(home / "gallery").search(model.embed([image.crop((0, 0, 8, 16))]), 50)[0]
    assert part["query"]["box"] == [0, 0, 0.5, 1]
    assert [hit["id"] for hit in part["hits"]] == [hit.image.id for hit in expected]  # the image itself is a hit
    assert part["hits"][0]["similarity"] == pytest.approx(expected[0].similarity, abs=1e-5)


def test_what_a_page_needs(client: TestClient, home: Path) -> None:
    about = client.get("/gallery").json()
    assert (about["images"], about["labels"], about["unlabelled"], about["model"]["dim"]) == (24, 4, 0, 16)
    assert client.get("/labels", params={"contains": "CLASS", "limit": 1, "offset": 1}).json() == {
        "labels": [{"label": "class 1", "count": 6}],
        "total": 4,
        "unlabelled": 0,
    }
    listed = client.get("/images", params={"label": "class 3", "offset": 4, "limit": 10}).json()
    assert (len(listed["images"]), listed["total"]) == (2, 6)
    assert len({one["id"] for one in client.get("/random", params={"count": 200}).json()["images"]}) == 24
    one = listed["images"][0]
    small = client.get(f"/thumbnails/{one['id']}")
    assert small.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(small.content)).size == (one["width"], one["height"])
    whole = client.get(f"/images/{one['id']}")
    assert whole.content == (home / "photos" / one["path"]).read_bytes()
    assert whole.headers["x-crossbatch-picture"] == "original"
    assert client.get("/map").json()["id"] == []
    assert client.get("/healthz").json()["images"] == 24
    assert "/search" in client.get("/openapi.json").json()["paths"]


def test_every_answer_has_the_headers_that_bind_a_browser(client: TestClient) -> None:
    for path in ("/", "/gallery", "/nowhere", "/images/none"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


REFUSALS: dict[str, tuple[int, str, dict[str, object]]] = {
    "text": (415, "not_an_image", {"files": {"image": ("x.jpg", b"text")}}),
    "nothing": (415, "not_an_image", {"files": {"image": ("x.jpg", b"")}}),
    "half a file": (415, "not_an_image", {"files": {"image": ("x.png", b"\x89PNG\r\n\x1a\n" + b"x" * 50)}}),
    "neither": (422, "bad_request", {"data": {"top": 3}}),
    "both": (422, "bad_request", {"data": {"id": "0" * 32}, "files": {"image": ("x.png", b"x")}}),
    "unknown": (404, "unknown_image", {"data": {"id": "0" * 32}}),
    "a path for an id": (404, "unknown_image", {"data": {"id": "../../etc/passwd"}}),
    "too many": (422, "bad_request", {"data": {"id": "0" * 32, "top": 51}}),
    "no number": (422, "bad_request", {"data": {"id": "0" * 32, "min_similarity": "nan"}}),
    "too large": (413, "too_large", {"files": {"image": ("x.png", b"x" * 200_000)}}),
    "too large, and does not say so": (
        413,
        "too_large",
        {"content": [b"x" * 100_000] * 3, "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ),
    "a field that is none": (422, "bad_request", {"data": {"id": "0" * 32, "labels": "x"}}),
    "a file alone": (415, "no_form", {"content": b"x", "headers": {"content-type": "image/jpeg"}}),
    "no form": (415, "no_form", {"json": {"id": 3}}),
    "a long label": (422, "bad_request", {"data": {"id": "0" * 32, "label": "x" * 1025}}),
    "many labels": (422, "bad_request", {"data": {"id": "0" * 32, "label": ["x"] * 101}}),
    "fields without end": (413, "too_large", {"content": b"&" * 50_000, "headers": {"content-type": BY_SIGNS}}),
    "tiles without end": (415, "not_an_image", {"files": {"image": ("x.tif", of_tiles(26_624))}}),
    "scans without end": (
        415,
        "not_an_image",
        {"files": {"image": ("x.jpg", b"\xff\xd8" + b"\xff\xda\0\x08\x01" * 300)}},
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_its_status_and_a_sentence(case: str, client: TestClient) -> None:
    status, code, request = REFUSALS[case]
    answer = client.post("/search", **request)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert len(answer.json()["error"].split()) > 3


def test_a_misspelt_filter_is_told(client: TestClient) -> None:
    one = client.get("/images").json()["images"][0]["id"]
    answer = client.post("/search", data={"id": one, "labels": "x"})
    assert answer.json()["error"] == "there is no field labels: take box, id, image, label, min_similarity, top"
    for address in ("/images?top=2", f"/similar/{one}?min=1", "/random?n=3", "/labels?x=1", "/map?limt=9"):
        assert client.get(address).status_code == 422, address
    for address in ("/?id=1&picture=2", "/healthz?probe=1", "/gallery?_=1", f"/thumbnails/{one}?v=1"):
        assert client.get(address).status_code == 200, address


def test_a_label_that_no_image_has_is_told(client: TestClient) -> None:
    one = client.get("/images").json()["images"][0]["id"]
    answer = client.post("/search", data={"id": one, "label": "none"}).json()
    assert (answer["hits"], answer["notes"]) == ([], ["no image has the label none"])
    assert client.post("/search", data={"id": one}).json()["notes"] == []


def test_an_id_may_be_shortened(client: TestClient) -> None:
    one = client.get("/images").json()["images"][0]["id"]
    assert client.get(f"/similar/{one[:12]}").json()["query"]["id"] == one
    whole = client.post("/search", data={"id": one}).json()
    assert client.post("/search", data={"id": one[:6]}).json()["hits"] == whole["hits"]
    for folder in ("thumbnails", "images"):  # the beginning of an id may belong to another image later
        assert "immutable" not in client.get(f"/{folder}/{one[:12]}").headers["cache-control"]
    assert "immutable" in client.get(f"/thumbnails/{one}").headers["cache-control"]
    short = client.get(f"/similar/{one[:4]}")
    assert (short.status_code, short.json()["error"][:30]) == (404, "an id may be shortened to 6 of")


@pytest.mark.parametrize("size", [(20_000, 10_000), (1_100, 1_000)])
def test_an_image_of_more_pixels_than_the_server_reads_is_refused_by_its_header(
    size: tuple[int, int], client: TestClient
) -> None:
    answer = client.post("/search", files=uploaded(Image.new("1", size)))
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_pixels")
    assert "than the 1,000,000 that are read" in answer.json()["error"]


@pytest.mark.parametrize("where", ["images", "thumbnails", "similar", "page"])
@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "..%2fsecret.txt", "%2e%2e/%2e%2e/photos/secret.txt", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00",
     "/etc/passwd", "%2fetc%2fpasswd", "....//etc/passwd", "..\\secret.txt", "app.py", "../app.py"],
)  # fmt: skip
def test_no_path_gets_out(where: str, path: str, client: TestClient) -> None:
    for accept in ("*/*", "text/html"):
        answer = client.get(f"/{where}/{path}", headers={"accept": accept}, follow_redirects=False)
        assert answer.status_code == 404, answer.text
        assert b"hidden words" not in answer.content
        assert b"root:" not in answer.content


BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/;", "/,", "/search-page", "/some/where?x=1"])
def test_an_unknown_address_leads_a_browser_to_the_page(path: str, client: TestClient) -> None:
    led = client.get(path, headers=BROWSER, follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (303, "/")
    for answer in (client.get(path), client.post(path, headers=BROWSER), client.head(path, headers=BROWSER)):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize(
    "path",
    [
        "/images/a/b",
        "/page/none.js",
        "/..%2fsecret.txt",
        "/x/%2e%2e/y",
        "/x//etc/passwd",
        "/..\\secret",
        "/x.txt",
        "/%00",
    ],
)
def test_a_browser_too_is_refused_what_lies_elsewhere(path: str, client: TestClient) -> None:
    answer = client.get(path, headers=BROWSER, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


def test_other_names_and_other_sites_are_refused(client: TestClient) -> None:
    assert client.get("/gallery", headers={"host": "attacker.example"}).status_code == 421
    assert client.get("/gallery", headers={"host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/gallery", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    assert client.get("/gallery", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_a_token_is_asked_for_everything_but_the_page(home: Path, model: Encoder) -> None:
    app = create_app(opened(home / "gallery"), lambda: model, LIMITS, token=TOKEN, hosts=())
    with TestClient(app, "http://192.0.2.1") as client:
        one = opened(home / "gallery").rows.ids[0]
        closed = ("/gallery", "/labels", "/images", "/random", "/map", "/openapi.json", f"/images/{one}")
        closed += (f"/thumbnails/{one}", f"/similar/{one}")
        for path in closed:
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200, path
            assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401, path
        assert client.post("/search", data={"id": one}).status_code == 401
        assert [client.get(path).status_code for path in ("/", "/healthz")] == [200, 200]
        assert client.post("/session", json={"token": "wrong"}).status_code == 401
        assert client.post("/session", json={"token": TOKEN}).status_code == 204
        assert TOKEN not in str(client.cookies)
        assert client.get("/gallery").status_code == 200


def test_no_script_and_no_other_site_gets_the_session(home: Path, model: Encoder) -> None:
    app = create_app(opened(home / "gallery"), lambda: model, LIMITS, token=TOKEN, hosts=())
    for address, secure in (("http://192.0.2.1", False), ("https://192.0.2.1", True)):
        with TestClient(app, address) as client:
            cookie = client.post("/session", json={"token": TOKEN}).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ("secure" in cookie) == secure


def test_what_nobody_foresaw_is_an_answer_too(home: Path, model: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(opened(home / "gallery"), lambda: model, LIMITS)
    monkeypatch.setattr(Gallery, "picture", lambda *_: 1 / 0)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        answer = client.get(f"/images/{opened(home / 'gallery').rows.ids[0]}")
    assert (answer.status_code, answer.json()["code"]) == (500, "unforeseen")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_model_that_cannot_be_loaded_costs_uploads_only(home: Path) -> None:
    def fail() -> Encoder:
        raise ValueError("the weights are gone")

    with TestClient(create_app(opened(home / "gallery"), fail, LIMITS), "http://localhost") as client:
        answer = client.post("/search", files=uploaded(Image.new("RGB", (9, 9))))
        assert (answer.status_code, answer.json()["code"]) == (503, "no_model")
        assert "the weights are gone" in answer.json()["error"]
        assert client.get(f"/similar/{opened(home / 'gallery').rows.ids[0]}").status_code == 200


def test_an_empty_gallery_answers(home: Path, model: Encoder, tmp_path: Path) -> None:
    indexed(tmp_path / "gallery", home / "run")
    with TestClient(create_app(opened(tmp_path / "gallery"), lambda: model, LIMITS), "http://localhost") as client:
        assert client.get("/gallery").json()["images"] == 0
        assert client.post("/search", files=uploaded(Image.new("RGB", (9, 9)))).json()["hits"] == []
        assert client.get("/random").json()["images"] == client.get("/images").json()["images"] == []
        assert client.get("/map").json()["total"] == 0


def test_images_added_while_searching_are_seen_whole(home: Path, tmp_path: Path) -> None:
    """Each answer is of one revision: it has as many hits as images, and a thumbnail for each image."""
    folder = tmp_path / "gallery"
    shutil.copytree(home / "gallery", folder)
    gallery, wrong, done = Gallery(folder), list[str](), threading.Event()
    query = gallery.rows.embeddings[:1]

    def look() -> None:
        while not done.is_set():
            rows = gallery.rows
            hits = gallery.search(query, 10_000, rows=rows)[0]
            if len(hits) != len(rows) or (len(rows) - 24) % 10:
                wrong.append(f"{len(hits)} hits of {len(rows)} images")
            if any(not gallery.thumbnail(row, rows) for row in range(0, len(rows), 7)):
                wrong.append("no picture")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    _grow(folder, gallery)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(gallery) == 24 + 120


def _grow(folder: Path, gallery: Gallery) -> None:
    """Add ten images twelve times, and join files in between."""
    picture, row = gallery.thumbnail(0), gallery.rows.embeddings[:1]
    with writing(folder) as writer:
        for number in range(12):
            ids = [f"{number * 10 + one:032x}" for one in range(10)]
            writer.append([Entry(one, one, f"new {number}", 9, 9, picture) for one in ids], row.repeat(10, 0))
            if number % 4 == 3:
                writer.compact()
            assert gallery.refresh()
