"""A stand-in for W&B's server on this machine: it keeps the runs that are logged to it, and hands them out again."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

Answer = dict[str, Any]
PROJECT = "team/study"
KEY = "k" * 40
_SUMMARY = "wandb-summary.json"


@dataclass
class Server:
    """What the server knows.

    Attributes:
        runs: Config, group, sweep, state and summary of every run, by its W&B id.
        sweep: The file of the only sweep, ``s1``.
        commands: What its agents are still to be told.
        views: Saved workspaces, in the order in which they came.
    """

    address: str = ""
    runs: dict[str, Answer] = field(default_factory=dict)
    sweep: str = ""
    commands: list[Answer] = field(default_factory=list)
    views: list[Answer] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make W&B's client use this server."""
        return {
            "WANDB_BASE_URL": self.address,
            "WANDB_API_KEY": KEY,
            "WANDB_MODE": "online",
            "WANDB_ENTITY": PROJECT.split("/")[0],
            "WANDB_ERROR_REPORTING": "false",
        }

    def add_sweep(self, text: str) -> None:
        """Takes a sweep with one parameter: each value is a run, then agents are to leave."""
        self.sweep = text
        content = yaml.safe_load(text)
        ((parameter, choice),) = content["parameters"].items()
        for i, value in enumerate(choice["values"]):
            args = {parameter: {"value": value}}
            self.commands.append({"type": "run", "run_id": f"w{i}", "program": content["program"], "args": args})
        self.commands.append({"type": "exit"})

    def answer(self, query: str, given: dict[str, Any]) -> Answer:
        """The answer to a GraphQL query."""
        if "upsertBucket" in query:
            return {"upsertBucket": {"bucket": self._keep(given), "inserted": True}}
        if "createRunFiles" in query:
            urls = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": urls}}
        if "upsertView" in query:
            self.views.append(given)
            return {"upsertView": {"view": {"id": str(len(self.views)), "name": given["name"]}, "inserted": True}}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "agentHeartbeat" in query:
            told = [self.commands.pop(0)] if given["runState"] == "{}" else []
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(told)}}
        if "sweep(" in query:
            return {"project": {"sweep": {"id": "1", "name": "s1", "config": self.sweep, "runs": {"edges": []}}}}
        if "runs(" in query:
            return {"project": self._page(given) if f"{given['entity']}/{given['project']}" == PROJECT else None}
        if "viewer" in query:
            return {"viewer": {"id": "1", "username": "me", "entity": "team", "flags": "{}", "teams": {"edges": []}}}
        return {}

    def _keep(self, given: dict[str, Any]) -> Answer:
        run = self.runs.setdefault(given["name"], {"state": "running", "summary": "{}"})
        run |= {key: value for key, value in given.items() if value is not None}
        project = {"id": "1", "name": given["project"], "entity": {"id": "1", "name": "team"}}
        return {"id": "1", "name": given["name"], "displayName": "run", "sweepName": given["sweep"], "project": project}

    def _page(self, given: dict[str, Any]) -> Answer:
        """Some runs, as many as are asked for."""
        first = int(given["cursor"] or 0)
        chosen = list(self.runs.items())[first : first + given["perPage"]]
        end = first + len(chosen)
        nodes = [
            {
                **{"id": name, "name": name, "projectId": "1", "tags": [], "displayName": "run", "sweepName": None},
                **{"state": run["state"], "config": run.get("config", "{}"), "summaryMetrics": run["summary"]},
                **{"systemMetrics": "{}", "createdAt": "2026-01-01T00:00:00Z", "user": {"username": "me"}},
            }
            for name, run in chosen
        ]
        return {
            "runCount": len(self.runs),
            "runs": {
                "edges": [{"node": node, "cursor": str(end)} for node in nodes],
                "pageInfo": {"endCursor": str(end), "hasNextPage": end < len(self.runs)},
            },
        }

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        """Keeps what a run streams: its summary, and how it ended."""
        for line in sent.get("files", {}).get(_SUMMARY, {}).get("content", []):
            self.runs[run]["summary"] = line
        if sent.get("complete"):
            self.runs[run]["state"] = "failed" if sent["exitcode"] else "finished"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, known: Server) -> None:
        self.known = known
        super().__init__(*args)

    def do_POST(self) -> None:
        body = self._body()
        answer: Answer = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = {"data": self.known.answer(asked["query"], asked.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            self.known.stream(self.path.split("/")[-2], json.loads(body))
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.do_POST()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has hung up
            super().handle()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def wandb_server() -> Iterator[Server]:
    """A server with an empty project."""
    known = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, known=known)) as server:
        server.daemon_threads = True
        known.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()
