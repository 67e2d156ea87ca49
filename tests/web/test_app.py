"""The server's answers, without a browser: a picture's way, whose it is, and what is refused."""

import builtins
import io
import json
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nightlab.errors import InputError
from nightlab.web.app import create_app
from nightlab.web.serve import LOOPBACK, create_server, trusted_hosts

from .conftest import as_png

pytest.importorskip("flask", reason="the page's server needs Flask (requirements/web.txt)")


@pytest.fixture
def client(room):
    return create_app(room, LOOPBACK).test_client()


@pytest.fixture
def visit(client):
    """Opens the page once more: the headers with the new visitor's key."""
    return lambda: {"X-Visitor": client.post("/visit").json["key"]}


def worked(client, room, headers):
    room.desk.work_once()
    return client.get("/job", headers=headers).json


def test_a_photo_and_its_sliders(client, room, visit, photo):
    headers = visit()
    assert client.post("/see", data=photo, headers=headers).json == {}
    assert client.get("/job", headers=headers).json["state"] == "waiting"
    job = worked(client, room, headers)
    answer = job["answer"]
    assert job["state"] == "done" and (answer["width"], answer["height"], len(answer["regions"])) == (64, 48, 2)
    assert answer["image_level"][:4] == [0, 32, 1, 32] and answer["merged"][:6] == [2, 8, 0, 24, 1, 32]
    assert answer["image_seconds"] >= 0 and answer["merge_seconds"] >= 0
    for query, count in (("number=1", 1), ("number=99", 3), ("number=3&threshold=0.5", 2), ("number=no", 2)):
        client.post(f"/again?{query}", headers=headers)
        answer = worked(client, room, headers)["answer"]
        assert len(answer["regions"]) == count and "photo" not in answer
    assert room.model.frames == 1


def test_examples(client, room, visit):
    headers = visit()
    assert client.get("/examples/0.jpg").data.startswith(b"\xff\xd8")
    assert client.get("/examples/2.jpg").status_code == client.get("/examples/-1.jpg").status_code == 404
    client.post("/see?example=1", headers=headers)
    assert worked(client, room, headers)["answer"]["image_level"][:2] == [1, 32]
    assert client.post("/see?example=2", headers=headers).status_code == 404


def test_nothing_of_one_visitor_reaches_another(client, room, visit, photo):
    mine, other = visit(), visit()
    client.post("/see", data=photo, headers=mine)
    room.desk.work_once()
    assert client.get("/job", headers=other).status_code == 404
    client.post("/again", headers=other)
    assert "give it again" in worked(client, room, other)["message"]
    assert client.get("/job", headers=mine).json["state"] == "done"
    assert client.get("/job", headers=mine).status_code == 404  # told once
    for headers in ({}, {"X-Visitor": "guessed"}):
        for answer in (client.get("/job", headers=headers), client.post("/see", data=photo, headers=headers)):
            assert answer.status_code == 400 and "reload" in answer.json["message"]
    client.post("/leave", headers=mine)
    assert client.get("/job", headers=mine).status_code == 400


def test_one_job_at_a_time(client, room, visit, photo):
    headers = visit()
    client.post("/see", data=photo, headers=headers)
    assert "still being worked on" in client.post("/see", data=photo, headers=headers).json["message"]
    client.post("/see", data=photo, headers=(second := visit()))
    assert client.get("/job", headers=second).json["before"] == 1


@pytest.fixture
def ask(room):
    """Asks the server over the network: the answer's bytes."""
    pytest.importorskip("waitress", reason="the page's server needs waitress (requirements/web.txt)")
    server = create_server(create_app(room, LOOPBACK), "127.0.0.1", 0, room.limits)
    threading.Thread(target=server.run, daemon=True).start()
    room.desk.open()

    def ask(method, path, body=None, key=""):
        url = f"http://127.0.0.1:{server.effective_port}{path}"
        request = urllib.request.Request(url, body, {"X-Visitor": key}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    yield ask
    server.close()


def seen_by(ask, key, photo):
    """The whole answer to a photo, as bytes."""
    ask("POST", "/see", photo, key)
    while json.loads(answer := ask("GET", "/job", key=key))["state"] in ("waiting", "working"):
        time.sleep(0.01)
    return answer


def test_many_at_once_each_see_their_own(ask):
    """From threads: photos of one width each."""

    def visit(width):
        key = json.loads(ask("POST", "/visit", b""))["key"]
        photos = [as_png(np.zeros((48, size, 3), np.uint8)) for size in (width, width + 100)]
        return [json.loads(seen_by(ask, key, photo))["answer"]["width"] for photo in photos]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(visit, range(60, 72))) == [[width, width + 100] for width in range(60, 72)]


def test_large_answers_touch_no_disk_either(ask, monkeypatch):
    """Beyond waitress's limit of one MiB for what it keeps in memory."""
    key = json.loads(ask("POST", "/visit", b""))["key"]
    opened = []

    def temporary(*_, **__):
        opened.append(1)
        return io.BytesIO()

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, temporary)
    answer = seen_by(ask, key, as_png(np.random.default_rng(0).integers(0, 200, (500, 600, 3), dtype=np.uint8)))
    assert len(answer) > 1.1 * 2**20 and json.loads(answer)["state"] == "done"
    assert not opened


def test_uploads_that_are_refused(client, room, visit):
    headers = visit()
    client.post("/see", data=b"#!/bin/sh\ntouch run", headers=headers)
    job = worked(client, room, headers)
    assert job["state"] == "failed" and "not a readable file" in job["message"] and "\n" not in job["message"]
    answer = client.post("/see", data=bytes(1_000_001), headers=headers)
    assert answer.status_code == 413 and answer.json["message"] == "this file is larger than 1 MB; save it smaller"
    assert room.model.frames == 0


def test_uploads_touch_no_disk(client, room, visit, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (500, 600, 3), dtype=np.uint8)
    photo, headers = as_png(noise), visit()
    assert len(photo) > 600_000  # forms of this size would go to a temporary file

    def refuse(*_, **__):
        raise AssertionError("a file is opened")

    for module, name in ((builtins, "open"), (tempfile, "TemporaryFile"), (tempfile, "SpooledTemporaryFile")):
        monkeypatch.setattr(module, name, refuse)
    client.post("/see", data=photo, headers=headers)
    assert worked(client, room, headers)["state"] == "done"


def test_headers_keep_the_page_to_itself(client):
    for path in ("/", "/page/main.js", "/examples/0.jpg", "/nowhere"):
        answer = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers and "Access-Control-Allow-Origin" not in answer.headers


def test_the_page_names_nothing_from_elsewhere(client):
    for name in ("", "page/page.css", "page/main.js", "page/stage.js", "page/server.js"):
        text = client.get(f"/{name}").text
        assert text and "://" not in text and "style=" not in text and "eval(" not in text


def test_other_pages_are_refused(client, photo):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200
    assert client.post("/visit", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link may lead here
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/examples/../page/main.js", "/page//etc/passwd"):
        assert client.get(path).status_code in (308, 404)


def test_what_goes_wrong_inside_stays_inside(client, room, monkeypatch):
    monkeypatch.setattr(room, "welcome", lambda: 1 / 0)
    answer = client.post("/visit")
    assert answer.status_code == 500 and answer.json == {
        "message": "something went wrong on the server; its log says what"
    }


def test_the_server_is_for_this_machine_unless_told_otherwise():
    assert trusted_hosts("127.0.0.1") == LOOPBACK and trusted_hosts("0.0.0.0") is None


def test_where_nothing_can_listen(room):
    pytest.importorskip("waitress", reason="the page's server needs waitress (requirements/web.txt)")
    app = create_app(room, LOOPBACK)
    server = create_server(app, "127.0.0.1", 0, room.limits)
    for host, port in (("127.0.0.1", int(server.effective_port)), ("203.0.113.1", 0)):
        with pytest.raises(InputError, match="name another --host or --port"):
            create_server(app, host, port, room.limits)
    with pytest.raises(InputError, match="name a --port"):
        create_server(app, "127.0.0.1", 70_000, room.limits)
    server.close()
