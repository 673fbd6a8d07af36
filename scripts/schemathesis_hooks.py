"""Teaches schemathesis to send bodies of one JSON document a line, and CSV."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx, value):
    rows = value if isinstance(value, list) else [value]
    return {"data": "\n".join(json.dumps(row) for row in rows).encode()}


@schemathesis.serializer("text/csv")
def csv(ctx, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode()}
