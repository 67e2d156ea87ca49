"""The addresses that the server answers, as a Flask application: the page's files, and what the page asks for.

Uploads come as the body of a request and stay in memory: no form is parsed, no file is written, and no address names a
path. What belongs to a visitor needs the key in the header `X-Visitor`.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightlab.errors import InputError
from nightlab.web.room import Room, Settings
from nightlab.web.visitors import Visitor

if TYPE_CHECKING:
    from flask import Flask, Response

logger = logging.getLogger(__name__)

KEY = "X-Visitor"
HEADERS = {
    # Nothing from elsewhere, nothing inline, no frame around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(room: Room, hosts: Sequence[str] | None) -> "Flask":
    """The application. `hosts` are the names that a browser may call the server by; None admits all."""
    from flask import Flask

    app = Flask("nightlab.web", static_folder="page", static_url_path="/page")
    # A page elsewhere whose name is made to lead to this machine is not answered (DNS rebinding).
    app.config.update(TRUSTED_HOSTS=list(hosts) if hosts else None, MAX_CONTENT_LENGTH=room.limits.bytes)
    _guard(app)
    _show(app, room)
    _work(app, room)
    _explain(app, room)
    return app


def _guard(app: "Flask") -> None:
    """What holds for every request and every answer."""
    from flask import abort, request

    @app.before_request
    def of_this_page() -> None:
        # Browsers say where a request comes from; other pages may link here, and no more.
        if request.path != "/" and request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            abort(403)

    @app.after_request
    def guarded(response: "Response") -> "Response":
        response.headers.update(HEADERS)
        return response


def _show(app: "Flask", room: Room) -> None:
    """What is the same for all visitors; the page's other files are Flask's to send."""
    from flask import Response, abort

    @app.get("/")
    def page() -> Response:
        return app.send_static_file("index.html")

    @app.get("/examples/<int:number>.jpg")
    def thumbnail(number: int) -> Response:
        if number >= len(room.examples.thumbnails):
            abort(404)
        return Response(room.examples.thumbnails[number], mimetype="image/jpeg")


def _work(app: "Flask", room: Room) -> None:
    """A visitor's coming, jobs and going."""
    from flask import abort, jsonify, request

    def visitor() -> Visitor:
        return room.visitors.of(request.headers.get(KEY, ""))

    def settings() -> Settings:
        asked = request.args
        return Settings(room.model, asked.get("number", type=int), asked.get("threshold", type=float))

    @app.post("/visit")
    def visit() -> "Response":
        return jsonify(room.welcome())

    @app.post("/see")
    def see() -> "Response":
        guest, wanted = visitor(), settings()
        number = request.args.get("example", type=int)
        if number is None:
            data = request.get_data(cache=False)
            room.desk.take(guest, lambda: room.see_photo(guest, data, wanted))
        elif 0 <= number < len(room.examples.names):
            room.desk.take(guest, lambda: room.see_example(guest, number, wanted))
        else:
            abort(404)
        return jsonify({})

    @app.post("/again")
    def again() -> "Response":
        guest, wanted = visitor(), settings()
        room.desk.take(guest, lambda: room.see_again(guest, wanted))
        return jsonify({})

    @app.get("/job")
    def job() -> "Response":
        guest = visitor()
        last = guest.job
        if last is None:
            abort(404)
        if last.is_over:
            guest.job = None  # told once, then forgotten
        return jsonify(
            {"state": last.state, "before": room.desk.before(last), "message": last.message, "answer": last.answer}
        )

    @app.post("/leave")
    def leave() -> "Response":
        room.visitors.forget(request.headers.get(KEY, ""))
        return jsonify({})


def _explain(app: "Flask", room: Room) -> None:
    """Every error as one line."""
    from flask import jsonify

    too_large = f"this file is larger than {room.limits.megabytes} MB; save it smaller"

    @app.errorhandler(InputError)
    def told(error: InputError) -> tuple["Response", int]:
        return jsonify({"message": str(error)}), 400

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple["Response", int]:
        code = getattr(error, "code", None)  # Flask's refusals have one, as 404, and a name
        if isinstance(code, int):
            return jsonify({"message": too_large if code == 413 else getattr(error, "name", "refused")}), code
        logger.error("a request failed", exc_info=error)
        return jsonify({"message": "something went wrong on the server; its log says what"}), 500
