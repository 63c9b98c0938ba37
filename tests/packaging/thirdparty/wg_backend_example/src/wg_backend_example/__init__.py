"""An example of a third-party backend for wg."""

from wg_backend_example.backend import ExampleBackend

__all__ = ["ExampleBackend"]
