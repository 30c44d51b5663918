"""A client of the server, for programs in Python: the same results, and the same errors, as without a server.

It needs `httpx` and neither FastAPI nor a model. `Client` blocks, `AsyncClient` awaits; both have the same methods.

    with Client("http://127.0.0.1:8000") as client:
        result = client.analyze("photo.jpg")
        results = client.analyze_video("clip.mp4")

`requests` has what is sent, `answers` what comes back, `clients` the two clients.
"""

from mien.server.client.answers import Job
from mien.server.client.clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "Job"]
