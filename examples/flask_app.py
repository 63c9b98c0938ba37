"""Flask: the view enqueues and answers at once. `flask --app flask_app run`."""

from __future__ import annotations

from flask import Flask, request

from newsletter import send_welcome
from wg_core import BackendError

app = Flask(__name__)


@app.post("/subscribers")
def subscribe() -> tuple[dict[str, str], int]:
    """Enqueue a welcome; the store is the one that WG_URL names."""
    try:
        handle = send_welcome.enqueue(request.form["email"])
    except BackendError:
        app.logger.exception("the welcome could not be enqueued")
        return {"error": "please try again"}, 503
    return {"job": handle.id}, 202
