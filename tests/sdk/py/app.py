"""Test app on the Python SDK: the SDK's endpoint, the journal, and things for the server to call.

Environment: PORT (loopback), INNGEST_DEV (read by the SDK), APP_ID (default `py`), and ONLY, comma-separated
function ids, to register fewer functions.
"""

import os

import fastapi
import inngest
import inngest.fast_api
import uvicorn

from functions import functions
from journal import read

port = int(os.environ["PORT"])
self_url = f"http://127.0.0.1:{port}"
app_id = os.environ.get("APP_ID", "py")
app = fastapi.FastAPI()


def serve(client_id: str, path: str, only: list[str] | None, streaming: inngest.Streaming) -> None:
    """One SDK endpoint; the app is served twice under different ids."""
    client = inngest.Inngest(app_id=client_id)
    served = [fn for fn in functions(client, self_url) if only is None or fn.local_id in only]
    inngest.fast_api.serve(app, client, served, serve_path=path, streaming=streaming)


chosen = os.environ.get("ONLY")
serve(app_id, "/api/inngest", chosen.split(",") if chosen else None, inngest.Streaming.DISABLE)
serve(f"{app_id}-stream", "/api/stream", ["echo", "steps", "flaky", "step-caught"], inngest.Streaming.FORCE)


@app.get("/journal")
def journal(marker: str) -> list[dict]:
    return read(marker)


@app.post("/v1/chat/completions")
async def completions(request: fastapi.Request) -> dict:
    asked = await request.json()
    content = f"{asked['model']}: {asked['messages'][0]['content']}; {request.headers.get('authorization')}"
    return {"choices": [{"message": {"role": "assistant", "content": content}}]}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
