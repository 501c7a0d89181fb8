"""Spot's API for Ocean clusters, as far as component `spot-ocean` speaks it: it keeps what it is given.

What it keeps is written to `spot.json` where the emulator was started, for tests to read.
"""

import http.server
import json
import pathlib
import threading
import urllib.parse

TOKEN = "a-token-for-spot"
KEPT = pathlib.Path("spot.json")
clusters = {}


class Spot(http.server.BaseHTTPRequestHandler):
    def answer(self):
        path = urllib.parse.urlsplit(self.path).path.removeprefix("/ocean/aws/k8s/cluster").strip("/")
        given = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.reply(401, {"errors": [{"code": "AUTH", "message": "the token is not known"}]})
        if path and path not in clusters:
            return self.reply(400, {"errors": [{"code": "CLUSTER_DOESNT_EXIST", "message": f"no cluster {path}"}]})
        items = list(clusters.values()) if self.command == "GET" else []
        if self.command == "POST":
            cluster = {"id": f"o-{len(clusters) + 1:08x}", **given["cluster"]}
            clusters[cluster["id"]] = cluster
            items = [cluster]
        elif self.command == "PUT":
            clusters[path].update(given["cluster"])
        elif self.command == "DELETE":
            del clusters[path]
        KEPT.write_text(json.dumps(list(clusters.values()), indent=1, sort_keys=True))
        return self.reply(200, {"items": items, "count": len(items)})

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def reply(self, status, response):
        body = json.dumps({"response": {"status": {"code": status}, **response}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start():
    """Serves in a thread of its own. Returns its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Spot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
