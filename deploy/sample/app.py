"""A web application that shows its metrics at /metrics, as prometheus-fastapi-instrumentator does it."""

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

app = FastAPI()


@app.get("/api/v1/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


Instrumentator().instrument(app).expose(app)
